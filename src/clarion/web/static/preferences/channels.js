// What a person hears about, and where: a switch for each workflow and channel.

import { h } from "../dashboard/dom.js";
import { icon } from "../dashboard/icons.js";
import { call } from "./api.js";

const NAMES = {
  in_app: "In the app",
  push: "Push",
  web_push: "Browser",
  email: "Email",
  sms: "Text",
  chat: "Chat",
  webhook: "Webhook",
};

/** The card with all switches. `held` are the effective preferences, `keep` runs a change and tells how it went. */
export function channels(held, keep) {
  const used = Object.keys(NAMES).filter((channel) => held.some((one) => one.channel === channel));
  const groups = grouped(held);
  return h(
    "section",
    { class: "card channels", style: { "--channels": used.length }, "aria-labelledby": "channels" },
    h("div", { class: "line head" }, h("h2", { id: "channels" }, "What you hear about"), used.map(column)),
    [...groups].map(([category, workflows]) => [
      groups.size > 1 && h("h3", { class: "category" }, titled(category)),
      [...workflows.values()].map((of) => line(of, used, keep)),
    ]),
  );
}

function grouped(held) {
  const groups = new Map();
  const inOrder = held.toSorted((a, b) => (a.category === null) - (b.category === null) || compare(a, b));
  for (const one of inOrder) {
    const name = one.category ?? "everything else";
    if (!groups.has(name)) groups.set(name, new Map());
    const workflows = groups.get(name);
    if (!workflows.has(one.type)) workflows.set(one.type, []);
    workflows.get(one.type).push(one);
  }
  return groups;
}

function compare(a, b) {
  return (a.category ?? "").localeCompare(b.category ?? "") || nameOf(a).localeCompare(nameOf(b));
}

function nameOf(one) {
  return one.name || titled(one.type);
}

function titled(word) {
  const text = word.replaceAll(/[_.:-]+/g, " ");
  return text[0].toUpperCase() + text.slice(1);
}

function column(channel) {
  return h("span", { class: "column", "aria-hidden": "true" }, icon(channel), NAMES[channel]);
}

function line(of, used, keep) {
  const required = of[0].required;
  return h(
    "div",
    { class: "line", role: "group", "aria-label": nameOf(of[0]) },
    h(
      "div",
      { class: "what" },
      h("strong", null, nameOf(of[0])),
      required && h("span", { class: "soft small always" }, icon("lock", 13), "Always sent: security or legal"),
    ),
    used.map((channel) => {
      const one = of.find((other) => other.channel === channel);
      return one ? cell(one, keep) : h("span", { class: "cell none", "aria-hidden": "true" });
    }),
  );
}

function cell(one, keep) {
  const input = h("input", {
    type: "checkbox",
    role: "switch",
    class: "switch",
    checked: one.enabled || one.required,
    disabled: one.required,
    "aria-label": `${nameOf(one)}: ${NAMES[one.channel]}`,
    onchange: () => {
      const said = { type: one.type, channel: one.channel, enabled: input.checked };
      keep(() => call("/v1/inbox/preferences", { preferences: [said] })).catch(() => {
        input.checked = !said.enabled;
      });
    },
  });
  return h("label", { class: "cell" }, h("span", { class: "cell-name" }, icon(one.channel), NAMES[one.channel]), input);
}
