// One workflow: its steps in words, how it comes out for somebody, and what it says as JSON.

import { at, get, post } from "../api.js";
import { h } from "../dom.js";
import { icon } from "../icons.js";
import { message } from "../messages.js";
import {
  back,
  card,
  clock,
  copyButton,
  field,
  heading,
  json,
  loading,
  panel,
  refusal,
  select,
  trouble,
} from "../parts.js";
import { sampleData } from "../samples.js";
import { capital, channelName, list, plain } from "../words.js";

export function workflow({ id, signal }) {
  const load = () => get(at("workflows", id), {}, signal);
  return h(
    "div",
    null,
    back("#/workflows", "Workflows"),
    panel({ signal, load, draw: (one) => draw(one, signal), lines: 8 }),
  );
}

function draw(one, signal) {
  const test = `#/events?type=${encodeURIComponent(one.on[0] ?? "")}`;
  return [
    heading(
      one.name || one.key,
      h(
        "span",
        null,
        "on ",
        one.on.map((type, i) => [i > 0 && ", ", h("code", null, type)]),
      ),
      one.enabled === false && h("span", { class: "pill large tone-off" }, "off"),
      h("a", { class: "button", href: test }, icon("events"), "Send a test event"),
    ),
    h(
      "div",
      { class: "grid" },
      h(
        "div",
        { class: "wide-2 stack" },
        card("Steps", h("ol", { class: "steps" }, steps(one))),
        card("How it comes out", rendering(one, signal)),
      ),
      h("div", { class: "stack" }, card("Rules", rules(one)), card("About", about(one))),
    ),
    h(
      "details",
      { class: "card", "data-key": "json" },
      h("summary", null, h("h2", null, "As JSON")),
      h(
        "div",
        { class: "actions" },
        copyButton(() => JSON.stringify(one, null, 2)),
      ),
      json(one),
    ),
  ];
}

/** Channels that are told one after the other, and the waits between them. */
function steps({ steps: all, strategy }) {
  let waited = false;
  let number = 0;
  return all.map((step) => {
    if (step.wait) {
      waited = true;
      const unless = step.unless && `, and end there if it was ${plain(step.unless)} by then`;
      return h("li", { class: "step-wait soft" }, icon("deferred"), `Wait ${step.wait}`, unless);
    }
    number += 1;
    const first =
      strategy === "first_available" ? (number === 1 ? "if possible" : "otherwise") : waited ? "then" : "at once";
    return h(
      "li",
      { class: "step" },
      h("span", { class: "step-sign" }, icon(step.channel, 18)),
      h(
        "div",
        null,
        h("p", null, h("strong", null, channelName(step.channel)), h("span", { class: "soft" }, ` ${first}`)),
        step.when && h("p", { class: "soft small" }, "only when ", condition(step.when)),
        (step.subject ?? step.title ?? step.body ?? step.text) &&
          h("p", { class: "template" }, step.subject ?? step.title ?? step.body ?? step.text),
      ),
    );
  });
}

/** A `when` mapping as it is written. */
function condition(when) {
  const entries = Object.entries(when);
  return entries.map(([path, test], i) => [i > 0 && " and ", h("code", null, `${path} ${comparison(test)}`)]);
}

const COMPARISONS = { eq: "=", ne: "≠", gt: ">", gte: "≥", lt: "<", lte: "≤" };

function comparison(test) {
  if (typeof test !== "object" || test === null) return `= ${JSON.stringify(test)}`;
  return Object.entries(test)
    .map(([op, operand]) => `${COMPARISONS[op] ?? plain(op)} ${JSON.stringify(operand)}`)
    .join(", ");
}

function rules(one) {
  const said = [
    ["split", one.strategy === "first_available" ? "The first channel that works is used" : "Every channel is told"],
    one.when && ["split", ["Only when ", condition(one.when)]],
    ["deferred", quiet(one.quiet_hours ?? "defer")],
    one.send_windows && ["deferred", `Sent only ${one.send_windows.map(window).join("; ")}`],
    one.dedupe && [
      "delivered",
      ["The same thing once in ", one.dedupe.window, ", by ", h("code", null, one.dedupe.key)],
    ],
    one.digest && ["digested", `Gathered: ${gathered(one.digest)}`],
    one.ignores_opt_out && ["lock", "Nobody can opt out of it"],
    one.expires_after && ["expired", `Of no use after ${one.expires_after}`],
    one.on_unknown === "hold" && ["unknown", "Never sent again when it may have arrived"],
    ...Object.entries(one.preferences ?? {}).map(([channel, said]) => [channel, caps(channel, said)]),
  ];
  return h(
    "ul",
    { class: "rules" },
    said.filter(Boolean).map(([sign, text]) => h("li", null, icon(sign), h("span", null, text))),
  );
}

const quiet = (how) =>
  ({ defer: "Waits for the end of quiet hours", drop: "Dropped in quiet hours", ignore: "Sent in quiet hours too" })[
    how
  ];

const window = ({ days, start, end }) => `${days ? `${list(days.map(capital))} ` : ""}${start} to ${end}`;

function gathered({ mode, window: span, every }) {
  return `${mode}${span ? `, ${span}` : ""}${
    every
      ? `, ${[every]
          .flat()
          .map((one) => one.at)
          .join(", ")}`
      : ""
  }`;
}

function caps(channel, { enabled = true, max_per_hour: hour, max_per_day: day, on_limit: then }) {
  const capped = (most, span) => most && most !== "none" && `${most} ${span}`;
  const most = [capped(hour, "an hour"), capped(day, "a day")].filter(Boolean);
  const limit = most.length ? `, at most ${list(most)}${then ? `, then ${then}` : ""}` : "";
  return `${channelName(channel)}: ${enabled ? "on" : "off"} unless the person says otherwise${limit}`;
}

function about(one) {
  const rows = [
    ["Key", h("code", null, one.key)],
    ["Category", one.category],
    ["Priority", one.priority ?? "normal"],
    ["Version", `${one.version}, from ${one.source === "api" ? "the API" : "a file"}`],
    ["Stored", clock(one.created_at)],
    ["Languages", Object.keys(one.locales ?? {}).join(", ")],
  ];
  return h(
    "dl",
    { class: "facts" },
    rows.filter(([, value]) => value).map(([name, value]) => [h("dt", null, name), h("dd", null, value)]),
  );
}

/** What an SMS costs, and which character makes it so. */
function segments({ segments: count, encoding, forced_by: forced }) {
  const cost = `${count} ${count === 1 ? "segment" : "segments"}, ${encoding}`;
  return forced ? `${cost} because of “${forced}”` : cost;
}

/** Every step rendered for a person and some data. */
function rendering(one, signal) {
  const recipient = h("input", {
    placeholder: "nobody in particular",
    autocapitalize: "none",
    autocomplete: "off",
    spellcheck: "false",
  });
  const locales = [["", "the person's"], ...Object.keys(one.locales ?? {}).map((locale) => [locale, locale])];
  const locale = select({}, locales);
  const data = h("textarea", { rows: 5, spellcheck: "false", value: JSON.stringify(sampleData(one), null, 2) });
  const result = h("div", { class: "result", "aria-live": "polite" });

  const render = async (event) => {
    event?.preventDefault();
    let content;
    try {
      content = JSON.parse(data.value || "{}");
    } catch (error) {
      return result.replaceChildren(refusal({ message: `Not JSON: ${error.message}` }));
    }
    result.replaceChildren(loading(2));
    try {
      const body = {
        data: content,
        ...(recipient.value.trim() && { recipient: recipient.value.trim() }),
        ...(locale.value && { locale: locale.value }),
      };
      const { steps: rendered } = await post(`${at("workflows", one.key)}/render`, body, signal);
      result.replaceChildren(
        ...rendered.map(({ channel, parts, ...figures }) =>
          h(
            "section",
            { class: "rendered" },
            h("h3", null, icon(channel), channelName(channel)),
            message({ channel, ...parts }),
            figures.segments === undefined ? null : h("p", { class: "soft small" }, segments(figures)),
          ),
        ),
      );
    } catch (error) {
      if (error.name !== "AbortError") result.replaceChildren(error.status === 403 ? trouble(error) : refusal(error));
    }
  };
  render();
  return h(
    "form",
    { class: "composer", onsubmit: render },
    h("div", { class: "pair" }, field("Recipient", recipient), field("Language", locale)),
    field("Data (JSON)", data),
    h("div", { class: "actions" }, h("button", { class: "button", type: "submit" }, icon("eye"), "Render")),
    result,
  );
}
