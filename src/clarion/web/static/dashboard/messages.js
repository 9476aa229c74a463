// Messages as they look to who gets them: e-mail in a frame that runs nothing, the others as cards.

import { h } from "./dom.js";
import { icon } from "./icons.js";
import { ago, json } from "./parts.js";
import { channelName } from "./words.js";

/** A message: { channel, to?, subject, text, html, title, body, action_url, at? }. */
export function message(one) {
  if (one.channel === "email") return email(one);
  if (one.channel === "webhook") return json(withoutNulls(one));
  if (one.channel === "sms" || one.channel === "chat") return bubble(one);
  return notice(one);
}

function email(one) {
  const parts = [one.html && ["Email", () => frame(one.html)], one.text && ["Text", () => plainText(one.text)]].filter(
    Boolean,
  );
  const body = h("div", { class: "email-body" });
  const choose = (shown) => {
    body.replaceChildren(parts[shown][1]());
    tabs.forEach((tab, i) => tab.setAttribute("aria-pressed", i === shown));
  };
  const tabs = parts.map(([name], i) =>
    h("button", { class: "tab", type: "button", onclick: () => choose(i), "data-key": `part-${name}` }, name),
  );
  if (parts.length) choose(0);
  return h(
    "article",
    { class: "message email" },
    h(
      "header",
      { class: "email-head" },
      h("h3", null, one.subject ?? "(no subject)"),
      h("p", { class: "soft" }, one.to && h("span", null, `to ${one.to}`), ago(one.at)),
      parts.length > 1 && h("div", { class: "tabs", role: "group", "aria-label": "Show as" }, tabs),
    ),
    body,
  );
}

/** The frame is a page of its own without an origin; inside it the e-mail stands in another, which runs no script. */
function frame(html) {
  const element = h("iframe", {
    src: "/dashboard/email",
    sandbox: "allow-scripts",
    title: "The email as it looks",
    referrerpolicy: "no-referrer",
  });
  element.addEventListener("load", () => element.contentWindow?.postMessage(html, "*"));
  return element;
}

function plainText(text) {
  return h("pre", { class: "email-text" }, text.trim());
}

function bubble(one) {
  return h(
    "article",
    { class: "message" },
    h(
      "p",
      { class: "message-head soft" },
      icon(one.channel),
      channelName(one.channel),
      one.to && ` to ${one.to}`,
      ago(one.at),
    ),
    h(
      "p",
      { class: "bubble" },
      one.title && h("strong", null, `${one.title}\n`),
      one.text ?? one.body ?? one.subject ?? "",
    ),
  );
}

function notice(one) {
  return h(
    "article",
    { class: "message" },
    one.to &&
      h(
        "p",
        { class: "message-head soft" },
        icon(one.channel),
        `${channelName(one.channel)} to `,
        h("code", { class: "clip" }, one.to),
      ),
    h(
      "div",
      { class: "notice" },
      h("span", { class: "notice-icon" }, icon(one.channel)),
      h(
        "div",
        null,
        h("p", { class: "notice-head" }, h("strong", null, one.title ?? one.subject ?? ""), ago(one.at)),
        h("p", null, one.body ?? one.text ?? ""),
        one.action_url && h("p", { class: "soft clip" }, one.action_url),
      ),
    ),
  );
}

function withoutNulls(one) {
  return Object.fromEntries(Object.entries(one).filter(([, value]) => value != null));
}
