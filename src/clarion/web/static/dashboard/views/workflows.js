// Workflows: the recipes, one for every type of notification.

import { workflowsByKey } from "../api.js";
import { h } from "../dom.js";
import { icon } from "../icons.js";
import { empty, heading, panel } from "../parts.js";
import { channelName } from "../words.js";

export function workflows({ signal }) {
  const load = async () => [...(await workflowsByKey({ fresh: true })).values()];
  const draw = (found) => (found.length ? h("ul", { class: "tiles-of-workflows" }, found.map(tile)) : nothing());
  return h(
    "div",
    null,
    heading("Workflows", "One for every type of notification: what starts it, and who is told how"),
    panel({ signal, load, draw }),
  );
}

function tile(one) {
  return h(
    "li",
    null,
    h(
      "a",
      { class: "card workflow-tile", href: `#/workflows/${encodeURIComponent(one.key)}` },
      h(
        "span",
        { class: "card-head" },
        h("strong", null, one.name || one.key),
        one.enabled === false && h("span", { class: "pill tone-off" }, "off"),
      ),
      h(
        "span",
        { class: "soft small" },
        "on ",
        one.on.map((type, i) => [i > 0 && ", ", h("code", null, type)]),
      ),
      flow(one.steps),
      h(
        "span",
        { class: "tags soft small" },
        [one.key, one.category, one.priority, `version ${one.version}`]
          .filter(Boolean)
          .map((tag) => h("span", null, tag)),
      ),
    ),
  );
}

/** The steps in one line. */
function flow(steps) {
  return h(
    "span",
    { class: "flow" },
    steps.map((step) =>
      step.wait
        ? h("span", { class: "flow-wait soft small" }, icon("deferred", 13), step.wait)
        : h("span", { class: "pill tone-plain" }, icon(step.channel, 13), channelName(step.channel)),
    ),
  );
}

function nothing() {
  return empty(
    "No workflows yet",
    h("p", { class: "soft" }, "Put YAML files into the workflows folder, or start with clarion serve --samples."),
  );
}
