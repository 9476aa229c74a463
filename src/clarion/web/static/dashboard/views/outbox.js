// The outbox: what the capture provider kept instead of sending, as its reader would have seen it.

import { get } from "../api.js";
import { fill, h } from "../dom.js";
import { icon } from "../icons.js";
import { live, typed } from "../live.js";
import { message } from "../messages.js";
import { ago, back, empty, field, heading, pages, select } from "../parts.js";
import { CHANNELS, channelName } from "../words.js";

/** Whether there is room for the list and a message beside it. */
const isWide = () => matchMedia("(min-width: 900px)").matches;

export function outbox({ id, query, signal }) {
  const filters = { channel: query.get("channel") ?? "", recipient: query.get("recipient") ?? "" };
  const wanted = { id, delivery_id: query.get("delivery") };
  const reader = h("div", { class: "reader", "aria-live": "polite" });
  let open = null;

  const load = async (cursor) => {
    const page = await get("/v1/outbox", { ...filters, cursor, limit: 30 }, signal);
    if (!cursor) chooseFrom(page.items);
    return page;
  };
  const list = pages(load, row, nothing);
  const refresh = live(signal, 4000, list.refresh, list.failed);

  /** Opens what the address names, or where there is room for both, the newest. */
  function chooseFrom(items) {
    if (open) return;
    const named = items.find((one) => one.id === wanted.id || one.delivery_id === wanted.delivery_id);
    const first = !wanted.id && !wanted.delivery_id && isWide() ? items[0] : null;
    if (named) split.classList.add("reading");
    if (named ?? first) show(named ?? first);
    else if (wanted.id)
      fill(reader, empty("It isn't among the latest", h("p", { class: "soft" }, "Look for it by its recipient.")));
  }

  function show(one) {
    open = one.id;
    fill(reader, h("div", { class: "reader-back" }, back("#/outbox", "Outbox")), message(one));
    mark();
  }

  function mark() {
    for (const link of list.element.querySelectorAll("a"))
      link.toggleAttribute("aria-current", link.dataset.key === open);
  }

  function row(one) {
    const read = (event) => {
      event.preventDefault();
      const address = `#/outbox/${one.id}${asQuery(filters)}`;
      split.classList.add("reading");
      show(one);
      if (isWide()) return history.replaceState(null, "", address);
      // The message takes the list's place: the way back leads to the list.
      history.pushState(null, "", address);
      scrollTo(0, 0);
    };
    const link = h(
      "a",
      {
        class: "row row-message",
        href: `#/outbox/${one.id}`,
        "data-key": one.id,
        "aria-current": one.id === open,
        onclick: read,
      },
      icon(one.channel, 18),
      h(
        "span",
        { class: "clip message-title" },
        one.subject ?? one.title ?? one.text ?? one.body ?? channelName(one.channel),
      ),
      h("span", { class: "soft small" }, ago(one.at)),
      h("span", { class: "soft small clip message-to" }, `${one.recipient} · ${one.to ?? ""}`),
    );
    return h("li", null, link);
  }

  function change(name, value) {
    filters[name] = value;
    history.replaceState(null, "", `#/outbox${asQuery(filters)}`);
    open = null;
    Object.assign(wanted, { id: undefined, delivery_id: null });
    fill(reader);
    list.restart();
    refresh();
  }

  const channels = [
    ["", "Any"],
    ...Object.keys(CHANNELS)
      .filter((one) => one !== "in_app")
      .map((one) => [one, channelName(one)]),
  ];
  const split = h("div", { class: "split" }, h("section", { class: "card flush" }, list.element), reader);
  return h(
    "div",
    null,
    heading("Outbox", "Messages of channels without a provider are kept here instead of being sent"),
    h(
      "form",
      { class: "filters", role: "search", onsubmit: (event) => event.preventDefault() },
      field(
        "Recipient",
        h("input", {
          type: "search",
          value: filters.recipient,
          placeholder: "ada",
          oninput: typed((said) => change("recipient", said)),
          autocapitalize: "none",
          spellcheck: "false",
        }),
      ),
      field(
        "Channel",
        select({ onchange: (event) => change("channel", event.target.value) }, channels, filters.channel),
      ),
    ),
    split,
  );
}

function asQuery(filters) {
  const said = new URLSearchParams(Object.entries(filters).filter(([, value]) => value));
  return said.size ? `?${said}` : "";
}

function nothing() {
  return empty(
    "The outbox is empty",
    h(
      "p",
      { class: "soft" },
      "Only channels without a provider in clarion.toml are captured. In-app messages go to the inbox.",
    ),
  );
}
