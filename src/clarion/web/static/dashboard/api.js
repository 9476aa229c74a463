// Calls the API with the operator's key. The key lives in this tab's session storage, never in a URL.

const KEY = "clarion.key";
const PROJECT = "clarion.project";

/** What the server says is wrong: problem+json. Status 0: it couldn't be reached. */
export class Problem extends Error {
  constructor(status, { code, detail, where } = {}) {
    super(detail ?? "The server can't be reached.");
    Object.assign(this, { status, code, where });
  }
}

export const session = {
  get key() {
    return sessionStorage.getItem(KEY);
  },
  get project() {
    return sessionStorage.getItem(PROJECT);
  },
  set project(key) {
    sessionStorage.setItem(PROJECT, key);
  },
  start: (key) => sessionStorage.setItem(KEY, key),
  end() {
    sessionStorage.removeItem(KEY);
    sessionStorage.removeItem(PROJECT);
  },
};

/** Called when the server doesn't take the key any more. */
export const onExpired = { call: () => {} };

/** GET: get("/v1/notifications", { recipient: "ada" }, signal). Empty query values are left out. */
export function get(path, query = {}, signal = undefined) {
  const said = new URLSearchParams(Object.entries(query).filter(([, value]) => value != null && value !== ""));
  return call("GET", said.size ? `${path}?${said}` : path, undefined, signal);
}

/** POST with a JSON body. */
export function post(path, body, signal = undefined) {
  return call("POST", path, body, signal);
}

/** A path from its parts: at("recipients", "a/b") is /v1/recipients/a%2Fb. */
export function at(...parts) {
  return `/v1/${parts.map(encodeURIComponent).join("/")}`;
}

async function call(method, path, body, signal) {
  const headers = { Authorization: `Bearer ${session.key}` };
  if (session.project) headers["Clarion-Project"] = session.project;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers, body: body && JSON.stringify(body), signal, cache: "no-store" });
  } catch (error) {
    throw error.name === "AbortError" ? error : new Problem(0);
  }
  const answer = response.status === 204 ? null : await response.json().catch(() => null);
  if (response.ok) return answer;
  if (response.status === 401) onExpired.call();
  throw new Problem(response.status, answer ?? { detail: `The server answered ${response.status}.` });
}

/** Whether the key is one that the server knows. A role that may not see statistics is still let in. */
export async function isKnown(key) {
  let response;
  try {
    response = await fetch("/v1/stats?from=9999-01-01", { headers: { Authorization: `Bearer ${key}` } });
  } catch (error) {
    // fetch refuses what can't stand in a header: no key looks like that
    if (error instanceof TypeError && /[^\x21-\x7e]/.test(key)) return false;
    throw new Problem(0);
  }
  if (response.status === 429 || response.status >= 500) throw new Problem(response.status, await response.json());
  return response.status !== 401;
}

let workflows = null;

/** The current workflows by key. Asked for once, then again when a view that lives by them says so. */
export function workflowsByKey({ fresh = false } = {}) {
  if (fresh) workflows = null;
  workflows ??= everyPage("/v1/workflows").then((items) => new Map(items.map((one) => [one.key, one])));
  workflows.catch(() => (workflows = null));
  return workflows;
}

/** Forgets what another key or project has seen. */
export function forget() {
  workflows = null;
}

async function everyPage(path) {
  const items = [];
  for (let cursor = ""; cursor !== null;) {
    const page = await get(path, { cursor, limit: 500 });
    items.push(...page.items);
    cursor = page.next;
  }
  return items;
}
