// Parts that several views are made of.

import { Problem } from "./api.js";
import { h, region } from "./dom.js";
import { icon } from "./icons.js";
import { fromNow, live } from "./live.js";
import { STATES, VERDICTS, capital, channelName, clockTime, fullTime, plain, reasonName } from "./words.js";

/** The head of a view. `actions` stand at its right. */
export function heading(title, subtitle, ...actions) {
  return h(
    "header",
    { class: "heading" },
    h("div", null, h("h1", { tabindex: -1 }, title), subtitle && h("p", { class: "soft" }, subtitle)),
    actions.length > 0 && h("div", { class: "actions" }, actions),
  );
}

/** The way back, above a heading. */
export function back(href, text) {
  return h("a", { class: "back", href }, icon("next", 12), text);
}

export function card(title, ...children) {
  return h("section", { class: "card" }, title && h("h2", null, title), children);
}

/** A card whose title has something beside it. */
export function cardWith(title, aside, ...children) {
  return h("section", { class: "card" }, h("div", { class: "card-head" }, h("h2", null, title), aside), children);
}

/** An instant as time from now, kept up to date; the full time is its title. */
export function ago(iso) {
  return iso && h("time", { datetime: iso, title: fullTime(iso), "data-from-now": true }, fromNow(iso));
}

/** An instant as the clock showed it. */
export function clock(iso) {
  return iso && h("time", { datetime: iso, title: fullTime(iso) }, clockTime(iso));
}

/** "until 08:00 (in 6h)". */
export function until(word, iso) {
  return h("span", null, `${word} `, clock(iso), " (", ago(iso), ")");
}

/** A state as a word with its icon. */
export function pill(state, text = plain(state)) {
  return h("span", { class: `pill tone-${STATES[state] ?? "off"}` }, icon(state, 13), text);
}

/** A channel in the colour and with the icon of what became of it. */
function chip({ channel, state, reason }) {
  const said = `${plain(state)}${reason ? `: ${reasonName(reason)}` : ""}`;
  return h(
    "span",
    { class: `pill tone-${STATES[state] ?? "off"}`, title: `${channelName(channel)}: ${said}` },
    icon(state, 13),
    channelName(channel),
    h("span", { class: "unseen" }, ` ${said}`),
  );
}

/** A round sign for a person, always in the same colour. */
export function avatar(id, large = false) {
  let hash = 7;
  for (const letter of id) hash = (hash * 31 + letter.codePointAt(0)) % 6;
  const sign = [...id.replace(/^[^\p{L}\p{N}]+/u, "")][0] ?? "?";
  return h("span", { class: `avatar hue-${hash}${large ? " large" : ""}`, "aria-hidden": "true" }, sign.toUpperCase());
}

/** A notification as a row of a list: who (unless that goes without saying), what, how, when. */
export function notificationRow(one, workflows, { who = true } = {}) {
  return h(
    "li",
    null,
    h(
      "a",
      { class: `row row-notification${who ? "" : " row-own"}`, href: `#/notifications/${one.id}` },
      who && h("span", { class: "who" }, avatar(one.recipient), h("span", { class: "clip" }, one.recipient)),
      h("span", { class: "what clip" }, workflows.get(one.workflow)?.name || one.workflow),
      h("span", { class: "chips" }, one.deliveries.map(chip)),
      h("span", { class: "at" }, ago(one.created_at)),
    ),
  );
}

/** One verdict: what was decided for a channel, the sentence, and the rules that spoke. */
export function verdictCard(verdict) {
  const { state, said } = VERDICTS[verdict.verdict] ?? { state: "unknown", said: verdict.verdict };
  return h(
    "div",
    { class: `verdict tone-${STATES[state]}` },
    h(
      "p",
      { class: "verdict-head" },
      icon(verdict.channel),
      h("strong", null, channelName(verdict.channel)),
      h("span", { class: `pill tone-${STATES[state]}` }, icon(state, 13), said),
      verdict.reason && h("code", null, verdict.reason),
    ),
    verdict.sentence && h("p", { class: "sentence" }, verdict.sentence),
    verdict.until && h("p", { class: "soft" }, until("Until", verdict.until)),
    verdict.trace.length > 0 &&
      h("ol", { class: "trace", "aria-label": "Rules that spoke" }, verdict.trace.map(ruling)),
  );
}

const RULINGS = { pass: "sent", suppress: "failed", defer: "deferred", digest: "digested", note: "note" };

function ruling({ rule, result, detail }) {
  return h(
    "li",
    { class: `ruling-${result}` },
    icon(RULINGS[result] ?? "note", 14),
    h("span", { class: "rule" }, capital(plain(rule))),
    h("span", { class: "unseen" }, ` ${result}: `),
    h("span", { class: "soft" }, detail),
  );
}

/** The share of each state in one bar, with a legend. */
export function stateBar(counts) {
  const known = Object.keys(STATES).filter((state) => counts[state] > 0);
  const total = known.reduce((sum, state) => sum + counts[state], 0);
  return h(
    "div",
    null,
    h(
      "div",
      { class: "bar", "aria-hidden": "true" },
      known.map((state) =>
        h("span", { class: `fill-${STATES[state]}`, style: { "flex-grow": counts[state] / total } }),
      ),
    ),
    h(
      "ul",
      { class: "legend" },
      known.map((state) => h("li", null, pill(state, `${counts[state].toLocaleString("en")} ${plain(state)}`))),
    ),
  );
}

/** A bar of progress. */
export function progress(label, done, total) {
  const share = total ? Math.min(1, done / total) : 0;
  return h(
    "div",
    {
      class: "bar",
      role: "progressbar",
      "aria-label": label,
      "aria-valuemin": 0,
      "aria-valuemax": total,
      "aria-valuenow": done,
    },
    h("span", { class: "fill-accent", style: { width: `${share * 100}%` } }),
  );
}

/** A field of a form with its label, and a hint below. */
export function field(label, control, hint) {
  return h("label", { class: "field" }, h("span", null, label), control, hint && h("small", { class: "soft" }, hint));
}

/** Choices: [value, text] pairs. */
export function select(props, choices, chosen = "") {
  return h(
    "select",
    props,
    choices.map(([value, text]) => h("option", { value, selected: value === chosen }, text)),
  );
}

/** Nothing to see, and what to do about it. */
export function empty(title, ...children) {
  return h("div", { class: "empty" }, h("p", null, h("strong", null, title)), children);
}

/** What went wrong, in the server's words. A role that may not see this isn't an accident. */
export function trouble(error) {
  if (error.status === 403) {
    return h(
      "div",
      { class: "empty", role: "status" },
      icon("lock", 22),
      h("p", null, h("strong", null, "Your key may not see this")),
      h("p", { class: "soft" }, `${capital(error.message)}.`),
    );
  }
  const title = error.status === 404 ? "Not found" : "That didn't work";
  return h(
    "div",
    { class: "empty", role: "alert" },
    icon("alert", 22),
    h("p", null, h("strong", null, title)),
    h("p", { class: "soft" }, error instanceof Problem ? capital(error.message) : `The page broke: ${error.message}`),
  );
}

/** The same beside a form, in one line. */
export function refusal(error) {
  return h("p", { class: "refusal", role: "alert" }, icon("alert"), capital(error.message));
}

/** Lines that stand for what is being loaded. */
export function loading(lines = 4) {
  return h(
    "div",
    { class: "loading", "aria-busy": "true" },
    Array.from({ length: lines }, () => h("span")),
  );
}

/** A place that keeps itself up to date: `draw(data)` of what `load()` gives, every `every` ms (0: once). */
export function panel({ signal, every = 0, load, draw, lines = 4, tag = "div", className }) {
  const place = region(tag, { class: className }, (data) => draw(data));
  let there = false;
  place.instead(loading(lines));
  const work = async () => {
    place.show(await load());
    there = true;
  };
  // What is shown stays while the server can't be reached: the banner tells.
  live(signal, every, work, (error) => (there && error.status === 0) || place.instead(trouble(error)));
  return place.element;
}

/** JSON for reading. */
export function json(value) {
  return h("pre", { class: "code", tabindex: 0 }, JSON.stringify(value, null, 2));
}

/** Copies a text. `text` is asked for when it is wanted. */
export function copyButton(text, label = "Copy") {
  const said = h("span", { "aria-live": "polite" }, label);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text());
      said.textContent = "Copied";
    } catch {
      said.textContent = "The browser doesn't allow it";
    }
    setTimeout(() => (said.textContent = label), 2000);
  };
  return h("button", { class: "button quiet", type: "button", onclick: copy }, icon("copy"), said);
}

/** Pages without anything that a list passes over by itself. */
const LOOKS = 10;

/**
 * A list that grows by pages and stays up to date at its head. `load(cursor)` gives a page, `draw(item)` a row,
 * `nothing()` what stands there if it is empty. `refresh` looks for what is new, `restart` begins anew.
 */
export function pages(load, draw, nothing) {
  let items = [];
  let next = null;
  let turn = 0;
  const rows = region("ul", { class: "rows" }, (shown) => shown.map(draw));
  const below = h("div", { class: "below", "aria-live": "polite" }, loading(6));

  /** A page; where nothing near fits a filter, one of the next few that has something. */
  async function some(cursor) {
    let page = await load(cursor);
    for (let i = 1; i < LOOKS && !page.items.length && page.next; i++) page = await load(page.next);
    return page;
  }

  async function refresh() {
    const mine = turn;
    const head = await (items.length || next ? load(null) : some(null));
    if (mine !== turn) return;
    if (!head.items.length && head.next && (items.length || next)) return; // what was found further down stays
    const last = items.findIndex((one) => one.id === head.items.at(-1)?.id);
    if (last < 0) next = head.next;
    items = [...head.items, ...(last < 0 ? [] : items.slice(last + 1))];
    show();
  }

  async function more() {
    const mine = turn;
    below.replaceChildren(loading(1));
    try {
      const page = await some(next);
      if (mine !== turn) return;
      items = [...items, ...page.items];
      next = page.next;
      show();
    } catch (error) {
      failed(error);
    }
  }

  function show() {
    rows.show(items);
    if (next) {
      const label = items.length ? "Show more" : "Nothing among the latest: look further";
      if (below.querySelector("button")?.textContent !== label)
        below.replaceChildren(h("button", { class: "button", type: "button", onclick: more }, label));
    } else below.replaceChildren(...(items.length ? [] : [nothing()]));
  }

  function restart() {
    turn += 1;
    items = [];
    next = null;
    rows.show([]);
    below.replaceChildren(loading(6));
  }

  /** Says what went wrong where there is nothing better to show. */
  function failed(error) {
    if (error.name !== "AbortError" && !(items.length && error.status === 0)) below.replaceChildren(trouble(error));
  }

  return { element: h("div", null, rows.element, below), refresh, restart, failed };
}
