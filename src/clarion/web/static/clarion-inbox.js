// <clarion-inbox>: a bell with the number of new notifications, and the inbox behind it. One file, no dependencies.
//
//   <script type="module" src="https://clarion.example/static/clarion-inbox.js"></script>
//   <clarion-inbox token-url="/clarion-token"></clarion-inbox>
//
// `token-url`: your own backend's address that answers {"token": "..."} for whoever is signed in (it asks Clarion for it:
// POST /v1/recipients/{id}/tokens). It is called again when a token ends. Or `token`: one that you put there.
// `server`: where Clarion is, if not where this file came from. `labels`: texts in another language, as JSON.
// The event `clarion-select` (detail: the item) can be prevented; else the item's link is followed.
// Colours: --clarion-accent, --clarion-surface, --clarion-ink ...; parts: bell, badge, panel, item.

const HOME = new URL(import.meta.url).origin;
const PAGE = 20;

const LABELS = {
  inbox: "Notifications",
  bell: "Notifications, {n} new",
  all: "All",
  unread: "Unread",
  archive: "Archive",
  readAll: "Mark all as read",
  read: "Mark as read",
  toUnread: "Mark as unread",
  toArchive: "Archive",
  toInbox: "Move to inbox",
  snooze: "Snooze for a day",
  preferences: "Settings",
  empty: "You're all caught up",
  emptyHint: "What happens next shows up here.",
  emptyUnread: "Nothing unread",
  emptyArchive: "Nothing archived",
  broken: "The inbox can't be reached.",
  again: "Try again",
  close: "Close",
  now: "now",
};

const STYLE = `
:host {
  --accent: var(--clarion-accent, light-dark(#3d47c9, #a5adff));
  --on-accent: var(--clarion-on-accent, light-dark(#fff, #16181d));
  --surface: var(--clarion-surface, light-dark(#fff, #1a1b1e));
  --raised: var(--clarion-raised, light-dark(#f5f5f2, #25272b));
  --line: var(--clarion-line, light-dark(#e7e5df, #2e3036));
  --ink: var(--clarion-ink, light-dark(#1b1c22, #ecedf1));
  --soft: var(--clarion-soft, light-dark(#5f6068, #a3a5ae));
  --badge: var(--clarion-badge, light-dark(#d22d2d, #f2554d));
  --radius: var(--clarion-radius, 14px);
  display: inline-block; position: relative; font: 14px/1.45 var(--clarion-font, system-ui, sans-serif); color: var(--ink);
  -webkit-text-size-adjust: 100%;
}
*, ::before, ::after { box-sizing: border-box; }
button { font: inherit; color: inherit; background: none; border: 0; margin: 0; cursor: pointer; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
svg { fill: none; stroke: currentColor; stroke-width: 1.6; stroke-linecap: round; stroke-linejoin: round; flex: none; }
.bell {
  position: relative; display: grid; place-items: center; width: 40px; height: 40px; padding: 0; border-radius: 50%;
  transition: background .15s;
}
.bell:hover, .bell[aria-expanded=true] { background: color-mix(in srgb, currentColor 9%, transparent); }
.badge {
  position: absolute; top: 3px; left: 21px; min-width: 18px; height: 18px; padding: 0 5px; border-radius: 9px; background: var(--badge);
  color: #fff; font-size: 11px; font-weight: 650; line-height: 18px; text-align: center; font-variant-numeric: tabular-nums;
}
[hidden] { display: none !important; }
.panel {
  position: fixed; inset: auto; margin: 0; padding: 0; width: min(400px, calc(100vw - 24px)); max-height: min(600px, calc(100dvh - 80px));
  border: 1px solid var(--line); border-radius: var(--radius); background: var(--surface); color: var(--ink); overflow: hidden;
  box-shadow: 0 2px 6px #0000000f, 0 18px 50px -12px #00000047;
}
.panel:popover-open { display: flex; flex-direction: column; }
header { display: flex; align-items: center; gap: 4px; padding: 14px 10px 8px 18px; }
h2 { margin: 0; flex: 1; font-size: 16px; font-weight: 650; letter-spacing: -.01em; }
.quiet { display: inline-flex; align-items: center; gap: 6px; padding: 6px 8px; border-radius: 8px; color: var(--soft); font-size: 13px; }
.quiet:hover:enabled { background: var(--raised); color: var(--ink); }
.quiet:disabled { opacity: .45; cursor: default; }
.close { display: none; }
.tabs { display: flex; gap: 2px; padding: 0 14px 10px; border-bottom: 1px solid var(--line); }
.tabs button { padding: 5px 11px; border-radius: 99px; color: var(--soft); font-weight: 550; font-size: 13px; }
.tabs button:hover { color: var(--ink); }
.tabs [aria-selected=true] { background: var(--raised); color: var(--ink); }
.count:not(:empty) { margin-left: 5px; } .count { font-weight: 500; color: var(--soft); font-variant-numeric: tabular-nums; }
.list { flex: 1; min-height: 260px; display: flex; flex-direction: column; overflow-y: auto; overscroll-behavior: contain; margin: 0; padding: 0; list-style: none; }
.item { position: relative; display: flex; flex: none; border-bottom: 1px solid color-mix(in srgb, var(--line) 60%, transparent); }
.item.fresh { animation: come .4s ease-out; }
@keyframes come { from { opacity: 0; transform: translateY(-8px); } }
.open { flex: 1; min-width: 0; display: grid; gap: 2px; padding: 12px 18px 12px 30px; text-align: start; }
.open:hover { background: color-mix(in srgb, var(--raised) 70%, transparent); }
.open:focus-visible { outline-offset: -3px; border-radius: 10px; }
.open::before {
  content: ""; position: absolute; top: 19px; left: 13px; width: 7px; height: 7px; border-radius: 50%; background: var(--accent);
  opacity: 0; transition: opacity .2s;
}
.unread .open::before { opacity: 1; }
.head { display: flex; gap: 10px; align-items: baseline; }
.title { flex: 1; min-width: 0; overflow-wrap: anywhere; }
.unread .title { font-weight: 620; }
time { flex: none; font-size: 12px; color: var(--soft); }
.body {
  color: var(--soft); font-size: 13px; overflow: hidden; overflow-wrap: anywhere; white-space: pre-line;
  display: -webkit-box; -webkit-line-clamp: 3; -webkit-box-orient: vertical;
}
.acts {
  position: absolute; right: 10px; top: 4px; display: flex; padding: 1px; border-radius: 9px; background: var(--surface);
  box-shadow: 0 0 0 1px var(--line), 0 4px 12px -4px #0003; opacity: 0; pointer-events: none;
}
.item:hover .acts, .item:focus-within .acts { opacity: 1; pointer-events: auto; }
.acts button { display: grid; place-items: center; width: 28px; height: 25px; padding: 0; border-radius: 7px; color: var(--soft); }
.acts button:hover { background: var(--raised); color: var(--ink); }
.empty { margin: auto; padding: 40px 24px; text-align: center; color: var(--soft); }
.empty svg { margin: 0 auto 12px; display: block; color: color-mix(in srgb, var(--soft) 55%, transparent); stroke-width: 1.1; }
.empty strong { display: block; color: var(--ink); font-weight: 600; }
.empty button { margin-top: 12px; color: var(--accent); font-weight: 600; padding: 6px 10px; border-radius: 8px; }
.bones { padding: 14px 18px 14px 30px; display: grid; gap: 8px; }
.bones i { height: 10px; border-radius: 5px; background: var(--raised); animation: breathe 1.4s infinite alternate; }
.bones i:first-child { width: 62%; }
.bones i:last-child { width: 88%; }
@keyframes breathe { to { opacity: .45; } }
.said { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
@media (hover: none) {
  .item { flex-direction: column; }
  .open { padding-bottom: 4px; }
  .acts { opacity: 1; pointer-events: auto; position: static; margin: 0 0 8px 23px; gap: 10px; background: none; box-shadow: none; }
}
@media (max-width: 480px) {
  .panel { inset: 0 !important; width: 100vw; height: 100dvh; max-height: none; border: 0; border-radius: 0; }
  .close { display: inline-flex; }
  .readall span { display: none; }
}
@media (prefers-reduced-motion: reduce) { * { animation: none !important; transition: none !important; } }
`;

const SHAPES = {
  bell: "M10 2.6a5.2 5.2 0 0 0-5.2 5.2v3.3L3.2 14h13.6l-1.6-2.9V7.8A5.2 5.2 0 0 0 10 2.6ZM8 16.7a2.1 2.1 0 0 0 4 0",
  checks: "m1.8 10.7 3.7 3.6L12.4 7M9.8 14.1l.4.2L17.9 7",
  check: "m4 10.6 4 3.9 8-8.5",
  dot: "M10 13a3 3 0 1 0 0-6 3 3 0 0 0 0 6Z",
  box: "M3 4h14v3.5H3zm1 3.5V16h12V7.5M8 10.7h4",
  inbox: "M3 11 5 4.5h10L17 11v4.5H3zh4a3 3 0 0 0 6 0h4",
  clock: "M10 17a7 7 0 1 0 0-14 7 7 0 0 0 0 14Zm0-11v4.2l2.7 1.7",
  gear: "M3 6h8m3 0h3M3 14h3m3 0h8M12.5 8a2 2 0 1 0 0-4 2 2 0 0 0 0 4Zm-5 8a2 2 0 1 0 0-4 2 2 0 0 0 0 4Z",
  cross: "m5 5 10 10M15 5 5 15",
};

function icon(name, size = 18) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  for (const [key, value] of Object.entries({ viewBox: "0 0 20 20", width: size, height: size, "aria-hidden": "true" })) {
    svg.setAttribute(key, value);
  }
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", SHAPES[name]);
  svg.append(path);
  return svg;
}

/** An element; what comes as data becomes text, never markup. */
function h(tag, props, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value == null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child != null && child !== false));
  return element;
}

/** Where an item may lead: to this site or another, never to a script. */
function safe(url, base = document.baseURI) {
  const parsed = url && URL.canParse(url, base) ? new URL(url, base) : null;
  return parsed && ["http:", "https:"].includes(parsed.protocol) ? parsed.href : null;
}

/** Calls Clarion with a token that is fetched anew when it has ended. */
class Line {
  constructor(server, source) {
    Object.assign(this, { server, source, token: null });
  }

  async call(path, body, more = {}) {
    for (const last of [false, true]) {
      this.token ??= await this.source();
      const response = await fetch(this.server + path, {
        method: body ? "POST" : "GET",
        cache: "no-store",
        credentials: "omit",
        ...more,
        headers: { Authorization: `Bearer ${this.token}`, ...(body && { "Content-Type": "application/json" }), ...more.headers },
        body: body && JSON.stringify(body),
      });
      if (response.status === 401 && !last) this.token = null;
      else if (response.ok) return response;
      else throw new Error(`${response.status}`);
    }
  }

  async json(path, body) {
    return (await this.call(path, body)).json();
  }

  /** Server-Sent Events by fetch, so that the token stands in a header and in no log. Ends when the connection does. */
  async *events(last, signal) {
    const headers = last ? { "Last-Event-ID": last } : {};
    const { body } = await this.call("/v1/inbox/stream", null, { headers, signal });
    let rest = "";
    for await (const chunk of chunks(body.pipeThrough(new TextDecoderStream()))) {
      const blocks = (rest + chunk).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: (.*)/s, 2)));
        if (fields.event) yield { name: fields.event, id: fields.id, data: JSON.parse(fields.data) };
      }
    }
  }
}

async function* chunks(stream) {
  const reader = stream.getReader();
  try {
    for (let next; !(next = await reader.read()).done; ) yield next.value;
  } finally {
    reader.releaseLock();
  }
}

class ClarionInbox extends HTMLElement {
  static observedAttributes = ["token", "labels"];
  #items = new Map();
  #counts = { unseen: 0, unread: 0, total: 0 };
  #status = "";
  #next = null;
  #state = "new"; // new, loading, there, broken
  #last = null;
  #parts = {};
  #ending = null;
  #labels = LABELS;

  constructor() {
    super();
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    this.attachShadow({ mode: "open" }).adoptedStyleSheets = [sheet];
  }

  connectedCallback() {
    this.style.colorScheme ||= "light dark";
    this.line = new Line((this.getAttribute("server") ?? HOME).replace(/\/$/, ""), () => this.#token());
    this.#build();
    this.#ending = new AbortController();
    this.#follow(this.#ending.signal);
    this.#clock = setInterval(() => this.#draw(), 60_000);
  }

  disconnectedCallback() {
    this.#ending?.abort();
    clearInterval(this.#clock);
  }
  #clock;

  attributeChangedCallback(name, _, value) {
    if (name === "labels") this.#labels = { ...LABELS, ...JSON.parse(value || "{}") };
    if (name === "token" && this.line) this.line.token = null;
    if (name === "labels" && this.line) this.#build();
  }

  async #token() {
    const url = this.getAttribute("token-url");
    if (!url) return this.getAttribute("token") ?? "";
    const response = await fetch(url, { cache: "no-store" });
    if (!response.ok) throw new Error(`${response.status}`);
    return (await response.json()).token;
  }

  // --- what comes in ---------------------------------------------------------------------------------------------------

  async #follow(signal) {
    for (let wait = 1000; !signal.aborted; wait = Math.min(wait * 2, 30_000)) {
      try {
        for await (const event of this.line.events(this.#last, signal)) {
          wait = 500;
          this.#last = event.id ?? this.#last;
          this.#hear(event);
        }
      } catch {
        // It comes back by itself; what is on the screen stays.
      }
      if (!signal.aborted) await new Promise((resolve) => setTimeout(resolve, wait * (0.5 + Math.random())));
    }
  }

  #hear({ name, data }) {
    if (name === "counts") this.#counts = data;
    else if (name === "reset") this.#load();
    else if (this.#state === "there") {
      const known = this.#items.has(data.id);
      if (this.#belongs(data)) this.#items.set(data.id, { ...data, fresh: name === "notification" && !known });
      else this.#items.delete(data.id);
      if (name === "notification" && this.#isOpen) {
        this.#parts.said.textContent = data.title ?? "";
        this.#see();
      }
    }
    if (name === "notification") this.dispatchEvent(new CustomEvent("clarion-notification", { detail: data, bubbles: true, composed: true }));
    this.#draw();
  }

  #belongs(item) {
    const asleep = item.snoozed_until && new Date(item.snoozed_until) > new Date();
    if (this.#status === "archived") return Boolean(item.archived_at);
    return !item.archived_at && !asleep && (this.#status !== "unread" || !item.read_at);
  }

  async #load(more = false) {
    if (this.#state === "loading" || (more && !this.#next)) return;
    this.#state = more ? this.#state : "loading";
    if (!more) this.#draw();
    const query = new URLSearchParams({ limit: PAGE });
    if (this.#status) query.set("status", this.#status);
    if (more) query.set("cursor", this.#next);
    const asked = this.#status;
    try {
      const page = await this.line.json(`/v1/inbox?${query}`);
      if (asked !== this.#status) return void (this.#state === "loading" && ((this.#state = "new"), this.#load()));
      if (!more) this.#items.clear();
      for (const item of page.items) this.#items.set(item.id, item);
      this.#next = page.next;
      this.#state = "there";
      this.#see();
    } catch {
      this.#state = "broken";
    }
    this.#draw();
  }

  /** What is on the screen was seen. */
  #see() {
    if (!this.#isOpen) return;
    const unseen = [...this.#items.values()].filter((item) => !item.seen_at).slice(0, 100);
    if (!unseen.length) return;
    for (const item of unseen) item.seen_at = new Date().toISOString();
    this.line.call("/v1/inbox/seen", { ids: unseen.map((item) => item.id) }).catch(() => {});
  }

  async #act(item, act, body = {}) {
    try {
      const now = await this.line.json(`/v1/inbox/${item.id}/${act}`, body);
      if (this.#belongs(now)) this.#items.set(item.id, now);
      else this.#items.delete(item.id);
    } catch {
      this.#state = "broken";
    }
    this.#draw();
  }

  async #readAll() {
    await this.line.call("/v1/inbox/read-all", {}).catch(() => (this.#state = "broken"));
    await this.#load();
  }

  #select(item) {
    if (!item.read_at) this.#act(item, "read");
    const said = new CustomEvent("clarion-select", { detail: item, bubbles: true, composed: true, cancelable: true });
    const url = safe(item.action_url);
    if (this.dispatchEvent(said) && url) location.assign(url);
  }

  // --- what is shown ---------------------------------------------------------------------------------------------------

  get #isOpen() {
    return this.#parts.panel?.matches(":popover-open") ?? false;
  }

  #build() {
    const say = this.#labels;
    const tab = (status, text) =>
      h("button", { role: "tab", type: "button", "data-status": status, onclick: () => this.#turnTo(status) }, text, h("span", { class: "count" }));
    const badge = h("span", { class: "badge", part: "badge", hidden: true, "aria-hidden": "true" });
    const bell = h("button", { class: "bell", part: "bell", type: "button", "aria-haspopup": "dialog", onclick: () => panel.togglePopover() }, icon("bell", 21), badge);
    const readAll = h("button", { class: "quiet readall", type: "button", title: say.readAll, onclick: () => this.#readAll() }, icon("checks"), h("span", null, say.readAll));
    const tabs = h("div", { class: "tabs", role: "tablist" }, tab("", say.all), tab("unread", say.unread), tab("archived", say.archive));
    const list = h("ul", { class: "list", "aria-label": say.inbox, onscroll: () => this.#scrolled() });
    const said = h("div", { class: "said", role: "status" });
    const close = h("button", { class: "quiet close", type: "button", title: say.close, "aria-label": say.close, onclick: () => panel.hidePopover() }, icon("cross"));
    const panel = h("div", { class: "panel", part: "panel", popover: "auto", role: "dialog", "aria-label": say.inbox, ontoggle: (event) => this.#toggled(event) },
      h("header", null, h("h2", null, say.inbox), readAll, close), tabs, list, said);
    this.#parts = { bell, badge, panel, tabs, list, readAll, said };
    this.shadowRoot.replaceChildren(bell, panel);
    this.#draw();
  }

  #toggled({ newState }) {
    const open = newState === "open";
    this.#parts.bell.setAttribute("aria-expanded", open);
    if (!open) return;
    this.#place();
    if (this.#state !== "there") this.#load();
    else this.#see();
  }

  /** Below the bell, or above it where there is more room; never outside the window. */
  #place() {
    const { bell, panel } = this.#parts;
    const at = bell.getBoundingClientRect();
    const { offsetWidth: width, offsetHeight: height } = panel;
    const below = at.bottom + 8 + height <= innerHeight || at.top < innerHeight / 2;
    panel.style.top = `${below ? at.bottom + 8 : Math.max(8, at.top - 8 - height)}px`;
    panel.style.left = `${Math.max(12, Math.min(at.right - width, innerWidth - width - 12))}px`;
  }

  #turnTo(status) {
    if (status === this.#status) return;
    this.#status = status;
    this.#items.clear();
    this.#next = null;
    this.#parts.list.scrollTop = 0;
    this.#load();
  }

  #scrolled() {
    const { scrollTop, clientHeight, scrollHeight } = this.#parts.list;
    if (this.#state === "there" && scrollTop + clientHeight > scrollHeight - 200) this.#load(true);
  }

  #draw() {
    const { bell, badge, tabs, list, readAll } = this.#parts;
    const { unseen, unread } = this.#counts;
    badge.hidden = unseen < 1;
    badge.textContent = unseen > 99 ? "99+" : unseen;
    bell.setAttribute("aria-label", this.#labels.bell.replace("{n}", unseen));
    readAll.disabled = unread < 1;
    for (const tab of tabs.children) {
      tab.setAttribute("aria-selected", tab.dataset.status === this.#status);
      if (tab.dataset.status === "unread") tab.lastChild.textContent = unread || "";
    }
    const focused = this.shadowRoot.activeElement?.closest("[data-id]")?.dataset.id;
    list.replaceChildren(...this.#rows());
    if (focused) list.querySelector(`[data-id="${CSS.escape(focused)}"] .open`)?.focus({ preventScroll: true });
  }

  #rows() {
    const say = this.#labels;
    const items = [...this.#items.values()].toSorted((a, b) => b.seq - a.seq);
    if (items.length) return items.map((item) => this.#row(item));
    if (this.#state === "broken") {
      return [h("li", { class: "empty" }, icon("bell", 44), h("strong", null, say.broken), h("button", { type: "button", onclick: () => this.#load() }, say.again))];
    }
    if (this.#state !== "there") return [0, 1, 2].map(() => h("li", { class: "bones", "aria-hidden": "true" }, h("i"), h("i")));
    const text = { unread: say.emptyUnread, archived: say.emptyArchive }[this.#status] ?? say.empty;
    return [h("li", { class: "empty" }, icon("bell", 44), h("strong", null, text), !this.#status && say.emptyHint)];
  }

  #row(item) {
    const say = this.#labels;
    const act = (name, shape, text, body) =>
      h("button", { type: "button", title: text, "aria-label": `${text}: ${item.title ?? ""}`, onclick: () => this.#act(item, name, body) }, icon(shape, 16));
    const fresh = item.fresh;
    delete item.fresh;
    return h("li", { class: `item${item.read_at ? "" : " unread"}${fresh ? " fresh" : ""}`, part: "item", "data-id": item.id },
      h("button", { class: "open", type: "button", onclick: () => this.#select(item) },
        h("span", { class: "head" }, h("span", { class: "title" }, item.title ?? item.body ?? ""), h("time", { datetime: item.created_at }, ago(item.created_at, say.now))),
        item.title && item.body && h("span", { class: "body" }, item.body)),
      h("span", { class: "acts" },
        item.read_at ? act("unread", "dot", say.toUnread) : act("read", "check", say.read),
        !item.archived_at && act("snooze", "clock", say.snooze, { until: new Date(Date.now() + 86_400_000).toISOString() }),
        item.archived_at ? act("unarchive", "inbox", say.toInbox) : act("archive", "box", say.toArchive)));
  }
}

const AGO = new Intl.RelativeTimeFormat(undefined, { numeric: "auto", style: "narrow" });

function ago(time, now) {
  const seconds = (new Date(time) - Date.now()) / 1000;
  if (seconds > -45) return now;
  for (const [unit, size] of [["minute", 60], ["hour", 3600], ["day", 86_400], ["week", 604_800]]) {
    const next = { minute: 3600, hour: 86_400, day: 604_800, week: 2_592_000 }[unit];
    if (-seconds < next) return AGO.format(Math.round(seconds / size), unit);
  }
  return new Date(time).toLocaleDateString(undefined, { month: "short", day: "numeric" });
}

customElements.define("clarion-inbox", ClarionInbox);
