// Icons, drawn on a 16 x 16 grid in the colour of the text around them. All are decoration: words stand beside them.

import { s } from "./dom.js";

const PATHS = {
  // places
  overview: "M2.5 13.5v-4m3.7 4v-7m3.6 7v-5m3.7 5v-10",
  notifications: "M8 2a4 4 0 0 0-4 4v2.6L2.8 11h10.4L12 8.6V6a4 4 0 0 0-4-4Zm-1.6 11.3a1.7 1.7 0 0 0 3.2 0",
  events: "M8.8 1.7 3.3 9.2h4.2l-.6 5.1 5.8-7.8H8.4z",
  outbox: "M2 9.5 3.8 3.2h8.4L14 9.5v3.3H2zh3.6a2.4 2.4 0 0 0 4.8 0H14",
  workflows: "M2 2.5h4.5V6H2zm7.5 7.5H14v3.5H9.5zM4.3 6v5.8h5.2M9.5 4.2h4",
  recipients:
    "M6 7.5a2.6 2.6 0 1 0 0-5.2 2.6 2.6 0 0 0 0 5.2Zm-4.7 6.2c0-2.6 2-4.2 4.7-4.2s4.7 1.6 4.7 4.2M11 2.6a2.6 2.6 0 0 1 0 4.6m1.6 2.7c1.3.700 2.1 2 2.1 3.8",
  // channels
  email: "M2 3.7h12v8.6H2zm0 .6 6 4.5 6-4.5",
  sms: "M13.8 3v7.6H8.3L5 13.3v-2.7H2.2V3z",
  push: "M4.7 1.7h6.6v12.6H4.7zM7.3 12h1.4",
  web_push: "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12ZM2 8h12M8 2c-4.3 4-4.3 8 0 12 4.3-4 4.3-8 0-12",
  in_app: "M2 3h12v10H2zm0 3h12M4 4.5h.01",
  chat: "M3 6.2h10M2.6 9.8h10M6.7 2.5l-1.5 11M10.8 2.5l-1.5 11",
  webhook:
    "M6.2 9.8a3 3 0 1 1-3.4-3.3M8 4.8l-2.5 5m2-7.3a3 3 0 0 1 3.3 3.2M8 4.8l3 4.4m-.7.300a3 3 0 1 1 .3 4.4M6.5 11h5",
  // states
  sent: "m3 8.5 3.4 3.3L13 4.8",
  delivered: "m1 8.7 3.2 3.1L10 5.5M7.3 11l.8.8L15 5",
  pending: "M8 13.5a5.5 5.5 0 1 0 0-11 5.5 5.5 0 0 0 0 11Z",
  sending: "M14 2 1.8 6.7l4.8 2.5L9 14zM6.6 9.2 14 2",
  deferred: "M8 13.5a5.5 5.5 0 1 0 0-11 5.5 5.5 0 0 0 0 11ZM8 5v3.3l2.2 1.5",
  digested: "M8 2 1.7 5.3 8 8.6l6.3-3.3zM1.7 8.3 8 11.6l6.3-3.3M1.7 11 8 14.3 14.3 11",
  suppressed: "M8 13.5a5.5 5.5 0 1 0 0-11 5.5 5.5 0 0 0 0 11ZM4.2 4.2l7.6 7.6",
  failed: "m4 4 8 8m0-8-8 8",
  expired: "M4 2h8M4 14h8M5 2c0 3.5 6 8.5 6 12M11 2c0 3.5-6 8.5-6 12",
  cancelled: "M3.5 8h9",
  unknown: "M5.7 6a2.3 2.3 0 1 1 3.4 2c-.8.500-1.1.900-1.1 1.8M8 12.5h.01",
  // the rest
  again: "M13.3 6.2A5.6 5.6 0 1 0 13.6 9M13.6 2.6v3.8H9.8",
  alert: "M8 2 1.5 13.5h13zm0 4.5v3.2m0 2h.01",
  copy: "M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3",
  eye: "M1.5 8S4 3.7 8 3.7 14.5 8 14.5 8 12 12.3 8 12.3 1.5 8 1.5 8ZM8 10a2 2 0 1 0 0-4 2 2 0 0 0 0 4Z",
  file: "M3.5 1.8h5.7l3.3 3.3v9.1h-9zM9 2v3.3h3.3",
  leave: "M6.5 2.5h-4v11h4M10 5l3 3-3 3m3-3H6",
  lock: "M3.5 7h9v6.5h-9zM5.5 7V5a2.5 2.5 0 0 1 5 0v2",
  next: "m6 3.5 4.5 4.5L6 12.5",
  note: "M8 13.5a5.5 5.5 0 1 0 0-11 5.5 5.5 0 0 0 0 11ZM8 7.5v3.2M8 5.2h.01",
  search: "M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10Zm3.6-1.4L14 14",
  split: "M2 4h4l4 8h4M10 4h4",
  stop: "M4.5 4.5h7v7h-7z",
};

/** An icon by name; a bare dot for a name that isn't known. */
export function icon(name, size = 16) {
  const path = s("path", { d: PATHS[name] ?? "M8 9a1 1 0 1 0 0-2 1 1 0 0 0 0 2Z" });
  return s("svg", { class: "icon", viewBox: "0 0 16 16", width: size, height: size, "aria-hidden": "true" }, path);
}

/** The brand: a clarion, the trumpet that calls from afar. As in icon.svg. */
export function mark(size = 28) {
  return s(
    "svg",
    { viewBox: "0 0 32 32", width: size, height: size, "aria-hidden": "true" },
    s("rect", { class: "mark-ground", width: 32, height: 32, rx: 9 }),
    s(
      "g",
      { class: "mark-horn", transform: "rotate(-20 16 16)" },
      s("path", { class: "mark-bell", d: "M13.5 15.7c5.5 0 9.7-2.8 12-8.2v17c-2.3-5.4-6.5-8.2-12-8.2Z" }),
      s("path", { class: "mark-tube", d: "M4.8 13v6M5 16h10" }),
    ),
  );
}
