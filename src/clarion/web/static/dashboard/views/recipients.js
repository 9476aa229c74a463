// Recipients: people by the application's own ids.

import { get } from "../api.js";
import { h } from "../dom.js";
import { live, typed } from "../live.js";
import { ago, avatar, empty, field, heading, pages } from "../parts.js";

export function recipients({ query, signal }) {
  let start = query.get("q") ?? "";
  const list = pages((cursor) => get("/v1/recipients", { q: start, cursor, limit: 50 }, signal), row, nothing);
  const refresh = live(signal, 10_000, list.refresh, list.failed);

  const oninput = typed((said) => {
    start = said;
    history.replaceState(null, "", `#/recipients${start ? `?q=${encodeURIComponent(start)}` : ""}`);
    list.restart();
    refresh();
  });
  const input = h("input", {
    type: "search",
    value: start,
    placeholder: "ada",
    oninput,
    autocapitalize: "none",
    autocomplete: "off",
    spellcheck: "false",
  });
  return h(
    "div",
    null,
    heading("Recipients", "People, by the ids of your application"),
    h(
      "form",
      { class: "filters", role: "search", onsubmit: (event) => event.preventDefault() },
      field("Id begins with", input),
    ),
    h("section", { class: "card flush" }, list.element),
  );

  function nothing() {
    if (start) return empty(`No id begins with “${start}”`);
    return empty(
      "Nobody is known yet",
      h("p", { class: "soft" }, "People become known when they are put, or when an event brings their email along."),
    );
  }
}

function row(one) {
  return h(
    "li",
    null,
    h(
      "a",
      { class: "row row-recipient", href: `#/recipients/${encodeURIComponent(one.id)}` },
      h("span", { class: "who" }, avatar(one.id), h("span", { class: "clip" }, one.id)),
      h("span", { class: "soft clip" }, one.email ?? one.phone ?? ""),
      h("span", { class: "soft clip zone" }, [one.timezone, one.locale].filter(Boolean).join(" · ")),
      h("span", { class: "soft small at" }, ago(one.updated_at)),
    ),
  );
}
