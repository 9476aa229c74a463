// One event: how far it is, what became of it, and cancelling what hasn't gone out.

import { at, get, post, workflowsByKey } from "../api.js";
import { h, region } from "../dom.js";
import { icon } from "../icons.js";
import { live } from "../live.js";
import {
  back,
  card,
  cardWith,
  clock,
  heading,
  loading,
  notificationRow,
  progress,
  refusal,
  stateBar,
  trouble,
} from "../parts.js";
import { count } from "../words.js";

/** Still on their way: only these can be cancelled or change soon. */
const OPEN = ["pending", "sending", "deferred", "digested"];

export function event({ id, signal }) {
  const about = region("div", null, (one) => draw(one, ask));
  const told = region("div", null, ({ items, names }) =>
    items.length
      ? h(
          "ul",
          { class: "rows" },
          items.map((one) => notificationRow(one, new Map(names))),
        )
      : h("p", { class: "soft" }, "Nobody yet."),
  );
  const said = h("div", { "aria-live": "polite" });
  about.instead(loading(6));
  told.instead(loading(3));

  const load = async () => {
    about.show(await get(at("events", id), {}, signal));
    const [page, workflows] = await Promise.all([
      get("/v1/notifications", { event: id, limit: 20 }, signal),
      workflowsByKey(),
    ]);
    told.show({ items: page.items, names: [...workflows].map(([key, { name }]) => [key, { name }]) });
  };
  const refresh = live(signal, 2000, load, (error) => {
    if (error.status === 0) return;
    about.instead(trouble(error));
    told.instead();
  });

  /** Asks before it cancels: there is no way back. */
  function ask(open) {
    const dialog = h(
      "dialog",
      { class: "dialog", onclose: () => dialog.remove() },
      h("h2", null, "Cancel this event?"),
      h(
        "p",
        null,
        `${count(open, "delivery", "deliveries")} that ${open === 1 ? "hasn't" : "haven't"} gone out will never go out.`,
      ),
      h(
        "div",
        { class: "actions" },
        h(
          "button",
          { class: "button danger", type: "button", onclick: () => dialog.close() || cancel() },
          "Cancel the event",
        ),
        h("button", { class: "button", type: "button", autofocus: true, onclick: () => dialog.close() }, "Keep it"),
      ),
    );
    document.body.append(dialog);
    dialog.showModal();
  }

  async function cancel() {
    try {
      const { cancelled } = await post(`${at("events", id)}/cancel`, undefined, signal);
      said.replaceChildren(
        h("p", { class: "notice-line" }, `Cancelled: ${count(cancelled, "delivery", "deliveries")}.`),
      );
      refresh();
    } catch (error) {
      said.replaceChildren(refusal(error));
    }
  }

  const all = h(
    "a",
    { class: "more", href: `#/notifications?event=${encodeURIComponent(id)}` },
    "All of them",
    icon("next", 12),
  );
  return h("div", null, back("#/events", "Events"), said, about.element, cardWith("Who is told", all, told.element));
}

const TONES = { accepted: "busy", deciding: "busy", decided: "good", cancelled: "off" };

function draw(one, ask) {
  const open = OPEN.slice(0, 3).reduce((sum, state) => sum + (one.deliveries[state] ?? 0), 0);
  const undecided = one.recipients - one.decided;
  const stoppable = one.status !== "cancelled" && open + undecided > 0;
  const stop = h(
    "button",
    { class: "button danger", type: "button", "data-key": "cancel", onclick: () => ask(open + undecided) },
    icon("stop"),
    "Cancel",
  );
  const rows = [
    ["Accepted", clock(one.accepted_at)],
    ["To be sent", clock(one.send_at)],
    ["Of use until", clock(one.expires_at)],
    ["Actor", one.actor],
    ["Tenant", one.tenant],
    ["Id", h("code", { class: "clip" }, one.id)],
  ];
  const deliveries = Object.values(one.deliveries).reduce((sum, number) => sum + number, 0);
  return [
    heading(
      one.type,
      null,
      h("span", { class: `pill large tone-${TONES[one.status] ?? "off"}` }, one.status),
      stoppable && stop,
    ),
    h(
      "div",
      { class: "grid" },
      h(
        "div",
        { class: "wide-2" },
        card(
          "How far it is",
          h(
            "p",
            { class: "progress-head" },
            h("strong", null, `${one.decided.toLocaleString("en")} of ${count(one.recipients, "recipient")}`),
            h("span", { class: "soft" }, ` decided, ${count(one.notifications, "notification")}`),
          ),
          progress("Recipients decided", one.decided, one.recipients),
          deliveries > 0 && [
            h("h3", null, `${one.estimated ? "about " : ""}${count(deliveries, "delivery", "deliveries")}`),
            stateBar(one.deliveries),
          ],
        ),
      ),
      card(
        "About",
        h(
          "dl",
          { class: "facts" },
          rows.filter(([, value]) => value).map(([name, value]) => [h("dt", null, name), h("dd", null, value)]),
        ),
      ),
    ),
  ];
}
