// One person: how to reach them, what they want to hear of, and what they were told.

import { at, get, workflowsByKey } from "../api.js";
import { h } from "../dom.js";
import { icon } from "../icons.js";
import { ago, avatar, back, card, cardWith, empty, json, notificationRow, panel } from "../parts.js";
import { CHANNELS, capital, channelName, list } from "../words.js";

export function recipient({ id, signal }) {
  const here = at("recipients", id);
  const told = async () => {
    const [page, workflows] = await Promise.all([
      get("/v1/notifications", { recipient: id, limit: 12 }, signal),
      workflowsByKey(),
    ]);
    return { items: page.items, names: [...workflows].map(([key, { name }]) => [key, { name }]) };
  };
  const drawTold = ({ items, names }) =>
    items.length
      ? h(
          "ul",
          { class: "rows" },
          items.map((one) => notificationRow(one, new Map(names), { who: false })),
        )
      : empty("Nothing yet");
  const ways = async () => {
    const [profile, devices, contacts] = await Promise.all([
      get(here, {}, signal),
      get(`${here}/devices`, {}, signal),
      get(`${here}/contacts`, {}, signal),
    ]);
    return { profile, devices: devices.items, contacts: contacts.items };
  };
  const preferences = () => get(`${here}/preferences`, { effective: true }, signal);
  const query = encodeURIComponent(id);
  const all = h(
    "a",
    { class: "more", href: `#/notifications?recipient=${query}` },
    "All notifications",
    icon("next", 12),
  );
  return h(
    "div",
    null,
    back("#/recipients", "Recipients"),
    h(
      "header",
      { class: "heading" },
      h("div", { class: "who" }, avatar(id, true), h("h1", { tabindex: -1, class: "clip" }, id)),
      h(
        "div",
        { class: "actions" },
        h("a", { class: "button", href: `#/events?recipient=${query}` }, icon("events"), "Send a test event"),
      ),
    ),
    h(
      "div",
      { class: "grid" },
      h(
        "div",
        { class: "wide-2 stack" },
        cardWith("Notifications", all, panel({ signal, every: 4000, load: told, draw: drawTold })),
        card("What they want to hear of", panel({ signal, every: 8000, load: preferences, draw: matrix })),
      ),
      h("div", { class: "stack" }, card("Profile", panel({ signal, every: 8000, load: ways, draw: drawProfile }))),
    ),
  );
}

function drawProfile({ profile, devices, contacts }) {
  const rows = [
    ["Email", profile.email],
    ["Phone", profile.phone],
    ["Language", profile.locale],
    ["Time zone", profile.timezone],
    ["Quiet hours", hours(profile.quiet_hours)],
    ["Prefers", hours(profile.delivery_windows)],
    ["Budget", profile.attention_budget && `${profile.attention_budget} messages a day`],
    ...devices.map((one) => [channelName(one.channel), way(one.platform, one.token)]),
    ...contacts.map((one) => [channelName(one.channel), way(one.label || one.kind, one.value)]),
    ["Known", ago(profile.created_at)],
    ["Changed", ago(profile.updated_at)],
  ];
  const known = rows.filter(([, value]) => value);
  return [
    h(
      "dl",
      { class: "facts" },
      known.map(([name, value]) => [h("dt", null, name), h("dd", null, value)]),
    ),
    Object.keys(profile.attributes ?? {}).length > 0 && [h("h3", null, "Attributes"), json(profile.attributes)],
  ];
}

function way(kind, value) {
  const text = typeof value === "string" ? value : (value?.endpoint ?? "");
  return h("span", null, kind, " ", h("code", { class: "clip", title: text }, text));
}

/** [{ days, start, end, channel? }]: "22:00 to 08:00", "Mon and Tue 09:00 to 18:00". */
function hours(windows) {
  const said = (windows ?? []).map(({ days, start, end, channel }) => {
    const when = days && days.length < 7 ? `${list(days.map(capital))} ` : "";
    return `${channel ? `${channelName(channel)}: ` : ""}${when}${start} to ${end}`;
  });
  return said.join("; ");
}

/** Types down, channels across: on or off, who said so, and the caps. */
function matrix({ preferences }) {
  const channels = Object.keys(CHANNELS).filter((channel) => preferences.some((one) => one.channel === channel));
  const types = [...new Map(preferences.map((one) => [one.type, one.name || one.type]))];
  if (!types.length) return empty("No workflow has any channel yet");
  const cell = (type, channel) => {
    const held = preferences.find((one) => one.type === type && one.channel === channel);
    if (!held) return h("td", null, h("span", { class: "unseen" }, "not used"));
    const limits = [
      held.max_per_hour && `${held.max_per_hour}/h`,
      held.max_per_day && `${held.max_per_day}/day`,
    ].filter(Boolean);
    return h(
      "td",
      { title: `${held.enabled ? "On" : "Off"}: ${held.said_by}` },
      h(
        "span",
        { class: `pill tone-${held.enabled ? "good" : "off"}` },
        icon(held.enabled ? "sent" : "suppressed", 13),
        held.enabled ? "on" : "off",
      ),
      held.enabled && limits.length > 0 && h("small", { class: "soft" }, limits.join(", ")),
      held.said_by && !/default/.test(held.said_by) && h("small", { class: "soft" }, held.said_by),
    );
  };
  return h(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": "Preferences" },
    h(
      "table",
      { class: "matrix" },
      h(
        "thead",
        null,
        h(
          "tr",
          null,
          h("th", { scope: "col" }, "Type"),
          channels.map((channel) => h("th", { scope: "col" }, channelName(channel))),
        ),
      ),
      h(
        "tbody",
        null,
        types.map(([type, name]) =>
          h(
            "tr",
            null,
            h("th", { scope: "row" }, name),
            channels.map((channel) => cell(type, channel)),
          ),
        ),
      ),
    ),
  );
}
