// Overview: what happened today and lately.

import { get, session, workflowsByKey } from "../api.js";
import { bars, columns, sparkline } from "../charts.js";
import { h, region } from "../dom.js";
import { icon } from "../icons.js";
import { live } from "../live.js";
import { card, cardWith, copyButton, empty, heading, loading, notificationRow, trouble } from "../parts.js";
import { curl, firstEvent } from "../samples.js";
import { CHANNELS, capital, channelName, reasonName } from "../words.js";
import { parkedNotice } from "./parked.js";

const DAYS = 14;

/** The figures: a delivery counts on the day on which it came into one of these states. */
const FIGURES = [
  { name: "Sent", tone: "good", states: ["sent"], link: "sent" },
  { name: "Deferred", tone: "wait", states: ["deferred", "digested"], link: "deferred" },
  { name: "Suppressed", tone: "off", states: ["suppressed", "expired", "cancelled"], link: "suppressed" },
  { name: "Failed", tone: "bad", states: ["failed", "unknown"], link: "failed" },
];
/** Where a delivery can end: what the columns are stacked of. */
const ENDS = FIGURES.filter((figure) => figure.name !== "Deferred");

export function overview({ signal }) {
  const hero = region(
    "div",
    { class: "hero-place" },
    (fresh) => fresh && (fresh.event ? firstSteps(fresh.event) : nothingToStart()),
  );
  const waiting = region("div", { class: "hero-place", role: "status" }, parkedNotice);
  const tiles = region("div", { class: "tiles" }, drawTiles);
  const days = region("div", null, drawDays);
  const channels = region("div", null, drawChannels);
  const reasons = region("div", null, drawReasons);
  const providers = region("div", null, drawProviders);
  const latest = region("div", null, drawLatest);
  for (const place of [tiles, days, channels, reasons, providers, latest]) place.instead(loading(3));

  /** Loads and shows one part; what this key may not see is said in its place. */
  async function part(load, ...places) {
    try {
      const data = await load();
      for (const place of places) place.show(data);
    } catch (error) {
      if (error.status !== 403) throw error;
      for (const place of places) place.instead(trouble(error));
    }
  }

  /** Who may not see it isn't told. */
  const parked = async () => {
    try {
      waiting.show((await get("/v1/parked", { limit: 1 }, signal)).count);
    } catch (error) {
      if (error.status !== 403) throw error;
    }
  };

  const list = async () => {
    const [page, workflows] = await Promise.all([get("/v1/notifications", { limit: 8 }, signal), workflowsByKey()]);
    const names = [...workflows].map(([key, { name }]) => [key, { name }]);
    root.classList.toggle("fresh", page.items.length === 0);
    hero.show(page.items.length === 0 ? { event: firstEvent(workflows) } : null);
    return { items: page.items, names };
  };
  const from = lastDays()[0];
  live(signal, 4000, () =>
    Promise.all([
      part(() => get("/v1/stats", { from, by: "state,channel" }, signal).then(counted), tiles, days, channels),
      part(() => get("/v1/stats", { from, by: "state,reason" }, signal), reasons),
      part(() => get("/v1/providers", {}, signal), providers),
      part(list, latest),
      parked(),
    ]),
  );

  const all = h("a", { class: "more", href: "#/notifications" }, "All notifications", icon("next", 12));
  const root = h(
    "div",
    { class: "overview" },
    heading("Overview", "What happened today and lately", h("span", { class: "live" }, "Live")),
    waiting.element,
    hero.element,
    tiles.element,
    h(
      "div",
      { class: "grid" },
      h(
        "div",
        { class: "wide-2 stack" },
        h("section", { class: "card lately" }, h("h2", null, `The last ${DAYS} days`), days.element),
        cardWith("Latest notifications", all, latest.element),
      ),
      h(
        "div",
        { class: "stack" },
        h("section", { class: "card lately" }, h("h2", null, "By channel"), channels.element),
        h("section", { class: "card lately" }, h("h2", null, "Why not sent"), reasons.element),
        card("Providers", providers.element),
      ),
    ),
  );
  return root;
}

/** The days of the statistics, which are UTC's, up to today. */
function lastDays(now = Date.now()) {
  return Array.from({ length: DAYS }, (_, i) => new Date(now - (DAYS - 1 - i) * 86_400_000).toISOString().slice(0, 10));
}

/** Rows of statistics as { days, of(states, channel?) -> a value per day }, in plain data. */
function counted({ items }) {
  return { days: lastDays(), items: items.map((row) => [row.bucket, row.state, row.channel, row.count]) };
}

function perDay({ days, items }, states) {
  const sums = new Map(days.map((day) => [day, 0]));
  for (const [day, state, , number] of items) {
    if (states.includes(state) && sums.has(day)) sums.set(day, sums.get(day) + number);
  }
  return [...sums.values()];
}

function drawTiles(data) {
  return FIGURES.map(({ name, tone, states, link }) => {
    const values = perDay(data, states);
    const [yesterday, today] = values.slice(-2);
    return h(
      "a",
      { class: `tile tone-${tone}`, href: `#/notifications?state=${link}` },
      h("span", { class: "tile-name" }, h("i", { class: `dot fill-${tone}` }), `${name} today`),
      h("strong", { class: "tile-figure" }, today.toLocaleString("en")),
      h("span", { class: "soft small" }, `yesterday ${yesterday.toLocaleString("en")}`),
      sparkline(values, tone),
    );
  });
}

function drawDays(data) {
  const series = ENDS.map(({ name, tone, states }) => ({
    name: name.toLowerCase(),
    tone,
    values: perDay(data, states),
  }));
  return columns(data.days, series);
}

function drawChannels({ items }) {
  const rows = Object.keys(CHANNELS).map((channel) => ({
    name: channelName(channel),
    parts: ENDS.map(({ tone, states }) => {
      const mine = items.filter(([, state, of]) => of === channel && states.includes(state));
      return [tone, mine.reduce((sum, [, , , number]) => sum + number, 0)];
    }),
  }));
  const used = rows.filter((row) => row.parts.some(([, value]) => value > 0));
  return used.length ? bars(used) : h("p", { class: "soft" }, "Nothing yet.");
}

function drawReasons({ items }) {
  const sums = new Map();
  for (const { state, reason, count: number } of items) {
    const figure = ENDS.find((one) => one.states.includes(state));
    if (!reason || !figure || figure.name === "Sent") continue;
    const sum = sums.get(reason) ?? { tone: figure.tone, number: 0 };
    sums.set(reason, { ...sum, number: sum.number + number });
  }
  const most = [...sums].sort(([, a], [, b]) => b.number - a.number).slice(0, 6);
  if (!most.length) return h("p", { class: "soft" }, "Everything was sent.");
  return bars(
    most.map(([reason, { tone, number }]) => ({ name: capital(reasonName(reason)), parts: [[tone, number]] })),
  );
}

const HEALTH = { healthy: "good", probing: "wait", demoted: "bad", disabled: "off" };

function drawProviders({ items }) {
  const rank = ({ samples, kind }) => (samples ? 0 : kind === "capture" ? 2 : 1);
  const shown = [...items].sort((a, b) => rank(a) - rank(b) || a.channel.localeCompare(b.channel));
  return h(
    "ul",
    { class: "providers" },
    shown.map(({ name, kind, channel, state, success_rate: rate, samples }) =>
      h(
        "li",
        { title: `${name} (${kind}) carries ${channelName(channel)}` },
        icon(channel),
        h("span", { class: "clip" }, name),
        h(
          "span",
          { class: `small ${samples && rate < 0.95 ? "poor" : "soft"}` },
          samples ? `${(100 * rate).toFixed(rate < 1 ? 1 : 0)}% of ${samples.toLocaleString("en")}` : "idle",
        ),
        h("span", { class: `pill tone-${HEALTH[state] ?? "off"}` }, state),
      ),
    ),
  );
}

function drawLatest({ items, names }) {
  if (!items.length)
    return empty("No notifications yet", h("p", { class: "soft" }, "They show up here as they are decided."));
  return h(
    "ul",
    { class: "rows" },
    items.map((one) => notificationRow(one, new Map(names))),
  );
}

function nothingToStart() {
  const hint = "Put YAML files into the workflows folder, or start with clarion serve --samples. Then send an event.";
  return card(null, empty("No workflow yet", h("p", { class: "soft" }, hint)));
}

/** What to do on a new server: the first event, by hand or from here. */
function firstSteps(event) {
  return h(
    "section",
    { class: "card hero" },
    h("h2", null, "Send the first event"),
    h(
      "p",
      { class: "soft" },
      "Your application reports what happened; Clarion decides whom to tell, on which channel and when. Paste this into a shell, and watch it arrive here:",
    ),
    h("pre", { class: "code", tabindex: 0 }, curl(event)),
    h(
      "div",
      { class: "actions" },
      copyButton(() => curl(event, session.key), "Copy, with your key in it"),
      h("a", { class: "button primary", href: "#/events" }, icon("events"), "Send it from here"),
    ),
    h(
      "p",
      { class: "soft small" },
      `It starts the workflow that listens to ${event.type}, for ${event.recipients[0].id}, who becomes known by it. `,
      `No provider is needed: what isn't configured is captured in the `,
      h("a", { href: "#/outbox" }, "outbox"),
      ".",
    ),
  );
}
