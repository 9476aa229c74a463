// Parked work: what failed five times and waits for a person, who lets it go on.

import { get, post } from "../api.js";
import { h, region } from "../dom.js";
import { icon } from "../icons.js";
import { live } from "../live.js";
import { ago, empty, heading, loading, refusal, trouble } from "../parts.js";
import { count } from "../words.js";

const JOBS = { decide: "Decide about", review: "Decide again about", digest: "Close a digest for", deliver: "Send to" };

/** "3 pieces of work are parked", for the top of other views; nothing while none is, or for who may not see it. */
export function parkedNotice(number) {
  return (
    number > 0 &&
    h(
      "a",
      { class: "card parked", href: "#/parked" },
      icon("alert", 20),
      h(
        "span",
        null,
        h("strong", null, `${count(number, "piece", "pieces")} of work ${number === 1 ? "is" : "are"} parked`),
        h("span", { class: "soft" }, "Failed five times. Look at the error, and let it go on."),
      ),
      icon("next", 14),
    )
  );
}

export function parked({ signal }) {
  const list = region("div", null, draw);
  const head = region("div", null, (number) =>
    heading(
      "Parked work",
      "What failed five times waits here; everything else goes on.",
      number > 0 &&
        h(
          "button",
          { class: "button primary", type: "button", "data-key": "retry", onclick: retry },
          icon("again"),
          "Try all again",
        ),
    ),
  );
  const said = h("div", { "aria-live": "polite" });
  head.show(0);
  list.instead(loading(4));
  const load = async () => {
    const page = await get("/v1/parked", {}, signal);
    head.show(page.count);
    list.show(page);
  };
  const refresh = live(signal, 4000, load, (error) => error.status === 0 || list.instead(trouble(error)));

  async function retry() {
    try {
      const { retried } = await post("/v1/parked/retry", undefined, signal);
      said.replaceChildren(
        h("p", { class: "notice-line" }, `Tried again: ${count(retried, "piece", "pieces")} of work.`),
      );
      refresh();
    } catch (error) {
      said.replaceChildren(refusal(error));
    }
  }

  return h("div", null, head.element, said, h("section", { class: "card flush" }, list.element));
}

function draw({ items, count: all }) {
  if (!items.length)
    return empty("Nothing is parked", h("p", { class: "soft" }, "What fails five times will stand here."));
  return [
    h("ul", { class: "rows" }, items.map(row)),
    all > items.length && h("p", { class: "below soft" }, `and ${(all - items.length).toLocaleString("en")} more`),
  ];
}

function row({ job, event_id: event, notification_id: notification, shard, recipient, workflow, error, at }) {
  const href = notification
    ? `#/notifications/${notification}`
    : event
      ? `#/events/${event}`
      : `#/recipients/${encodeURIComponent(recipient)}`;
  const whom = recipient ?? `shard ${shard}`;
  return h(
    "li",
    null,
    h(
      "a",
      { class: "row row-parked", href },
      icon("alert"),
      h("span", { class: "clip" }, `${JOBS[job.split(".")[0]] ?? job} `, h("strong", null, whom)),
      h("code", { class: "clip" }, error),
      h("span", { class: "soft small at" }, ago(at)),
      h("span", { class: "soft small clip parked-of" }, workflow ?? event),
    ),
  );
}
