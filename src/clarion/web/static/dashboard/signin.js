// Signing in: a key, checked against the server, kept for this tab only.

import { isKnown, session } from "./api.js";
import { h } from "./dom.js";
import { mark } from "./icons.js";
import { refusal } from "./parts.js";

/** The page that asks for a key. `entered` is called once the server knows it; `message` says why it is asked. */
export function signin(entered, message) {
  const input = h("input", {
    id: "key",
    type: "password",
    autocomplete: "off",
    autocapitalize: "none",
    spellcheck: "false",
    required: true,
    placeholder: "Paste it here",
    "aria-describedby": "key-hint",
  });
  const said = h("div", { "aria-live": "assertive" }, message && refusal({ message }));
  const button = h("button", { class: "button primary wide", type: "submit" }, "Sign in");

  const submit = async (event) => {
    event.preventDefault();
    const key = input.value.trim();
    if (!key) return input.focus();
    button.disabled = true;
    said.replaceChildren();
    try {
      if (await isKnown(key)) {
        session.start(key);
        return entered();
      }
      said.replaceChildren(refusal({ message: "This key isn't known, was revoked or has expired." }));
      input.select();
    } catch (error) {
      said.replaceChildren(refusal(error));
    } finally {
      button.disabled = false;
    }
  };

  setTimeout(() => input.focus());
  return h(
    "main",
    { class: "signin" },
    h(
      "form",
      { class: "signin-card", onsubmit: submit },
      mark(48),
      h("h1", null, "Clarion"),
      h("p", { class: "soft" }, "Sign in with an API key of this server."),
      h("label", { class: "field", for: "key" }, h("span", null, "API key"), input),
      said,
      button,
      h(
        "p",
        { class: "soft small", id: "key-hint" },
        "The first start of the server printed an admin key. Another one: ",
        h("code", null, "clarion keys create --role admin"),
        "It stays in this tab and is forgotten with it.",
      ),
    ),
  );
}
