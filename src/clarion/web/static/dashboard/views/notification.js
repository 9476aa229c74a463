// One notification: was this person told, and why, or why not? The answer, where it stands, and the story.

import { at, get, workflowsByKey } from "../api.js";
import { h } from "../dom.js";
import { icon } from "../icons.js";
import { ago, avatar, back, card, clock, panel, pill, until, verdictCard } from "../parts.js";
import { STATES, STORIES, answer, channelName, fullTime, list, plain, span, unknownStory } from "../words.js";

export function notification({ id, signal }) {
  const load = async () => {
    const [one, timeline, workflows] = await Promise.all([
      get(at("notifications", id), {}, signal),
      get(`${at("notifications", id)}/timeline`, {}, signal),
      workflowsByKey(),
    ]);
    return { one, timeline: timeline.items, name: workflows.get(one.workflow)?.name || one.workflow };
  };
  return h("div", null, back("#/notifications", "Notifications"), panel({ signal, every: 3000, load, draw, lines: 8 }));
}

function draw({ one, timeline, name }) {
  const toRecipient = `#/recipients/${encodeURIComponent(one.recipient)}`;
  return [
    h(
      "header",
      { class: "answer" },
      avatar(one.recipient, true),
      h(
        "div",
        null,
        h("h1", { tabindex: -1 }, h("a", { href: toRecipient }, one.recipient), ` ${answer(one.deliveries)}.`),
        h(
          "p",
          { class: "soft" },
          name,
          " · ",
          ago(one.created_at),
          one.tenant && ` · tenant ${one.tenant}`,
          touched(one),
        ),
        h("ul", { class: "because" }, because(one.deliveries, timeline)),
      ),
    ),
    h(
      "div",
      { class: "grid" },
      h(
        "div",
        { class: "wide-2" },
        card(
          "What happened, and why",
          h(
            "ol",
            { class: "story" },
            timeline.map((item) => chapter(item, timeline[0].at)),
          ),
        ),
      ),
      h(
        "div",
        { class: "stack" },
        card(
          "Deliveries",
          h(
            "ul",
            { class: "deliveries" },
            one.deliveries.map((d) => delivery(d, one, timeline)),
          ),
        ),
        card("About", about(one)),
      ),
    ),
  ];
}

function touched(one) {
  if (one.read_at) return [" · read ", ago(one.read_at)];
  return one.seen_at ? [" · seen ", ago(one.seen_at)] : null;
}

/** Why channels weren't used, or not yet: the sentence of each. */
function because(deliveries, timeline) {
  const said = new Map();
  for (const one of deliveries.filter(({ reason }) => reason)) {
    const sentence = sentenceOf(one, timeline);
    const key = `${one.state} ${sentence}`;
    const group = said.get(key) ?? { state: one.state, sentence, channels: new Set() };
    group.channels.add(channelName(one.channel));
    said.set(key, group);
  }
  return [...said.values()].map(({ state, sentence, channels }) =>
    h(
      "li",
      { class: `tone-${STATES[state]}` },
      icon(state),
      h("strong", null, list([...channels])),
      h("span", null, sentence),
    ),
  );
}

/** One fact, in words. Its time is told from the first. */
function chapter({ at: instant, fact, detail }, first) {
  const story = STORIES[fact]?.(detail) ?? unknownStory(fact, detail);
  return h(
    "li",
    { class: `tone-${STATES[story.state] ?? "plain"}` },
    h("span", { class: "story-sign" }, icon(story.icon ?? story.state, 15)),
    h(
      "div",
      { class: "story-body" },
      h(
        "p",
        { class: "story-head" },
        h("strong", null, story.title),
        h("span", { class: "soft small" }, since(instant, first)),
      ),
      h("p", { class: "soft" }, story.text.flat().filter(Boolean).join(" · ")),
      story.sentence && h("p", { class: "sentence" }, story.sentence),
      story.until && h("p", { class: "soft" }, until(...story.until)),
      story.retry && h("p", { class: "soft" }, retry(story.retry, instant)),
      detail.verdicts && h("div", { class: "verdicts" }, detail.verdicts.map(verdictCard)),
    ),
  );
}

function since(instant, first) {
  const later = Date.parse(instant) - Date.parse(first);
  return instant === first
    ? clock(instant)
    : h("time", { datetime: instant, title: fullTime(instant) }, `+ ${span(later)}`);
}

function retry(next, instant) {
  if (Date.parse(next) > Date.now()) return until("Tries again", next);
  return `Tried again ${span(Date.parse(next) - Date.parse(instant))} later`;
}

function delivery(d, one, timeline) {
  const captured = d.state === "sent" && d.provider?.startsWith("capture");
  const message = `#/outbox?recipient=${encodeURIComponent(one.recipient)}&delivery=${d.id}`;
  return h(
    "li",
    null,
    h("p", { class: "delivery-head" }, icon(d.channel), h("strong", null, channelName(d.channel)), pill(d.state)),
    d.state === "deferred" && d.due_at && h("p", { class: "soft small" }, until("Decided again at", d.due_at)),
    d.state === "pending" && d.due_at && h("p", { class: "soft small" }, until("Due at", d.due_at)),
    d.reason && h("p", { class: "small" }, sentenceOf(d, timeline)),
    d.attempts.length > 0 &&
      h(
        "ul",
        { class: "attempts soft small" },
        d.attempts.map((a) =>
          h("li", { title: fullTime(a.at) }, `${a.provider}: ${plain(a.outcome)}`, a.code && ` (${a.code})`),
        ),
      ),
    captured && h("a", { class: "small", href: message }, "See the message"),
  );
}

/** The sentence of a delivery's reason: the timeline has it. */
function sentenceOf({ id, reason }, timeline) {
  const said = timeline.flatMap(({ detail }) => [
    ...(detail.verdicts ?? []).filter((one) => one.deliveries.includes(id)),
    ...(detail.delivery === id ? [detail] : []),
  ]);
  return said.findLast((one) => one.reason === reason)?.sentence ?? plain(reason);
}

function about(one) {
  const event = `#/events/${one.event_id}`;
  const workflow = `#/workflows/${encodeURIComponent(one.workflow)}`;
  const rows = [
    ["Event", h("a", { class: "clip", href: event }, one.event_id)],
    ["Workflow", h("a", { href: workflow }, `${one.workflow}, version ${one.version}`)],
    ["Category", one.category],
    ["Decided", clock(one.created_at)],
    ["Seen", clock(one.seen_at)],
    ["Read", clock(one.read_at)],
    ["Id", h("code", { class: "clip" }, one.id)],
  ];
  return h(
    "dl",
    { class: "facts" },
    rows.filter(([, value]) => value).map(([name, value]) => [h("dt", null, name), h("dd", null, value)]),
  );
}
