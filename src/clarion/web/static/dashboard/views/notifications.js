// Notifications: who was told what, and on which channels; filtered, newest first.

import { get, workflowsByKey } from "../api.js";
import { h } from "../dom.js";
import { live, typed } from "../live.js";
import { empty, field, heading, notificationRow, pages, select } from "../parts.js";
import { STATES, plain } from "../words.js";

const FILTERS = ["recipient", "event", "workflow", "state"];

export function notifications({ query, signal }) {
  const filters = Object.fromEntries(FILTERS.map((name) => [name, query.get(name) ?? ""]));
  let workflows = new Map();

  const load = async (cursor) => {
    workflows = await workflowsByKey();
    offer();
    return get("/v1/notifications", { ...filters, cursor, limit: 50 }, signal);
  };
  const list = pages(load, (one) => notificationRow(one, workflows), nothing);
  const refresh = live(signal, 4000, list.refresh, list.failed);

  function change(name, value) {
    if (filters[name] === value) return;
    filters[name] = value;
    const said = new URLSearchParams(Object.entries(filters).filter(([, one]) => one));
    history.replaceState(null, "", `#/notifications${said.size ? `?${said}` : ""}`);
    list.restart();
    refresh();
  }

  const text = (name, label, hint) => {
    const oninput = typed((said) => change(name, said));
    const props = { type: "search", value: filters[name], placeholder: hint, oninput, spellcheck: "false" };
    return field(label, h("input", { ...props, autocapitalize: "none", autocomplete: "off" }));
  };
  const chosen = (name, label, choices) =>
    field(
      label,
      select({ onchange: (event) => change(name, event.target.value) }, [["", "Any"], ...choices], filters[name]),
    );

  const byWorkflow = chosen("workflow", "Workflow", filters.workflow ? [[filters.workflow, filters.workflow]] : []);

  /** The workflows to choose from, once they are known. */
  function offer() {
    const control = byWorkflow.querySelector("select");
    if (control.length > workflows.size) return;
    const choices = [["", "Any"], ...[...workflows.values()].map(({ key, name }) => [key, name || key])];
    control.replaceChildren(...select({}, choices).children);
    control.value = filters.workflow;
  }

  return h(
    "div",
    null,
    heading(
      "Notifications",
      "One for every person of an event. Open one to see why it came, or why it didn't.",
      h("span", { class: "live" }, "Live"),
    ),
    h(
      "form",
      { class: "filters", role: "search", onsubmit: (event) => event.preventDefault() },
      text("recipient", "Recipient", "ada"),
      text("event", "Event", "evt_…"),
      byWorkflow,
      chosen(
        "state",
        "A delivery that is",
        Object.keys(STATES).map((state) => [state, plain(state)]),
      ),
    ),
    h("section", { class: "card flush" }, list.element),
  );

  function nothing() {
    const filtered = Object.values(filters).some(Boolean);
    const hint = filtered ? "Take a filter away to see more." : "Send an event, and they show up here.";
    return empty(filtered ? "No notification fits" : "No notifications yet", h("p", { class: "soft" }, hint));
  }
}
