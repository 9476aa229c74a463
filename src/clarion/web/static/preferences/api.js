// Calls the recipient's own routes with the token of the page's address.

const token = new URLSearchParams(location.search).get("token") ?? "";

/** What the server says is wrong: problem+json. Status 0: it couldn't be reached. */
export class Problem extends Error {
  constructor(status, { code, detail } = {}) {
    super(detail ?? "The server can't be reached.");
    Object.assign(this, { status, code });
  }
}

/** GET, or PATCH with a body. */
export async function call(path, body) {
  const headers = { Authorization: `Bearer ${token || "none"}` };
  if (body) headers["Content-Type"] = "application/json";
  const said = { method: body ? "PATCH" : "GET", headers, body: body && JSON.stringify(body), cache: "no-store" };
  const response = await fetch(path, said).catch(() => null);
  if (!response) throw new Problem(0);
  const answer = await response.json().catch(() => null);
  if (!response.ok) throw new Problem(response.status, answer ?? {});
  return answer;
}
