// The dashboard's frame: who is signed in, where in the dashboard we are, and what stands around every view.

import { forget, get, onExpired, session } from "./api.js";
import { fill, h } from "./dom.js";
import { icon, mark } from "./icons.js";
import { connection } from "./live.js";
import { select, trouble } from "./parts.js";
import { signin } from "./signin.js";
import { event } from "./views/event.js";
import { events } from "./views/events.js";
import { notification } from "./views/notification.js";
import { notifications } from "./views/notifications.js";
import { outbox } from "./views/outbox.js";
import { overview } from "./views/overview.js";
import { parked } from "./views/parked.js";
import { recipient } from "./views/recipient.js";
import { recipients } from "./views/recipients.js";
import { workflow } from "./views/workflow.js";
import { workflows } from "./views/workflows.js";

/** Place in the hash -> its name, its view, and the view of one thing there: #/events, #/events/evt_... */
const PLACES = {
  overview: ["Overview", overview],
  notifications: ["Notifications", notifications, notification],
  events: ["Events", events, event],
  outbox: ["Outbox", outbox, outbox],
  workflows: ["Workflows", workflows, workflow],
  recipients: ["Recipients", recipients, recipient],
  parked: ["Parked work", parked],
};
/** Not in the menu: the overview leads there when there is something to see. */
const ASIDE = ["parked"];

const app = document.getElementById("app");
const main = h("main", { id: "main" });
let leaving = new AbortController();

function where() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [place, id] = path.split("/").map((part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  });
  return { place: place || "overview", id, query: new URLSearchParams(query) };
}

/** Shows the view that the hash names. */
function route() {
  leaving.abort();
  leaving = new AbortController();
  const { place, id, query } = where();
  const [name, list, one] = PLACES[place] ?? ["Nowhere", nowhere];
  const view = id && one ? one : list;
  document.title = `${id ? `${id} · ` : ""}${name} · Clarion`;
  for (const link of app.querySelectorAll("nav a")) {
    if (link.getAttribute("href") === `#/${place}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  try {
    fill(main, view({ id, query, signal: leaving.signal }));
  } catch (error) {
    fill(main, trouble(error));
  }
  scrollTo(0, 0);
}

function nowhere() {
  return trouble({ status: 404, message: "there is no such page; the menu has all that there are" });
}

/** After a step to another view, readers of the screen are told where they are, once it is there to be told. */
function routeAndTell() {
  route();
  const tell = () => {
    const title = main.querySelector("h1");
    if (!title) return;
    there.disconnect();
    if (!main.contains(document.activeElement)) title.focus({ preventScroll: true });
  };
  const there = new MutationObserver(tell);
  there.observe(main, { childList: true, subtree: true });
  leaving.signal.addEventListener("abort", () => there.disconnect());
  tell();
}

function shell() {
  const jump = h("input", {
    type: "search",
    placeholder: "Jump to an id",
    "aria-label": "Jump to an event, notification or recipient by its id",
    "aria-keyshortcuts": "/",
    autocomplete: "off",
    spellcheck: "false",
  });
  const projects = h("div", { class: "projects" });
  const banner = h("div", { class: "banner", role: "status" });
  connection.listen = (up) => fill(banner, !up && [icon("alert"), "The server doesn't answer. Trying again …"]);
  offerProjects(projects);
  return h(
    "div",
    { class: "shell" },
    h(
      "button",
      { class: "skip", type: "button", onclick: () => main.querySelector("h1")?.focus() },
      "Skip to the content",
    ),
    h(
      "div",
      { class: "side" },
      h("a", { class: "brand", href: "#/overview", "aria-label": "Clarion" }, mark(30), h("span", null, "Clarion")),
      h(
        "form",
        { class: "jump", role: "search", onsubmit: (e) => jumpTo(e, jump) },
        icon("search"),
        jump,
        h("kbd", null, "/"),
      ),
      h(
        "nav",
        { "aria-label": "Main" },
        Object.entries(PLACES)
          .filter(([place]) => !ASIDE.includes(place))
          .map(([place, [name]]) => h("a", { href: `#/${place}` }, icon(place, 18), h("span", null, name))),
      ),
      h(
        "div",
        { class: "foot" },
        projects,
        h("a", { class: "foot-link", href: "/docs", rel: "noopener" }, icon("file"), h("span", null, "API reference")),
        h("button", { class: "foot-link", type: "button", onclick: leave }, icon("leave"), h("span", null, "Sign out")),
      ),
    ),
    h("div", { class: "stage" }, banner, main),
  );
}

function jumpTo(event, input) {
  event.preventDefault();
  const id = input.value.trim();
  if (!id) return;
  const place = { evt: "events", ntf: "notifications", out: "outbox" }[id.split("_")[0]] ?? "recipients";
  input.value = "";
  location.hash = `#/${place}/${encodeURIComponent(id)}`;
}

/** A key of all projects chooses one; others can't even see that there are more. */
async function offerProjects(place) {
  const { items } = await get("/v1/projects").catch(() => ({ items: [] }));
  if (items.length < 2) return;
  const change = (event) => {
    session.project = event.target.value;
    forget();
    route();
  };
  const choices = items.map(({ key }) => [key, key]);
  fill(place, select({ "aria-label": "Project", onchange: change }, choices, session.project ?? "default"));
}

function enter() {
  fill(app, shell());
  route();
}

function leave(message) {
  leaving.abort();
  session.end();
  forget();
  document.title = "Sign in · Clarion";
  fill(app, signin(enter, typeof message === "string" ? message : null));
}

onExpired.call = () => leave("This key isn't known any more. Sign in again.");
addEventListener("hashchange", () => session.key && routeAndTell());
addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.target.closest("input, textarea, select")) return;
  const jump = app.querySelector(".jump input");
  if (!jump) return;
  event.preventDefault();
  jump.focus();
});
if (session.key) enter();
else leave();
