// Quiet hours: when nothing but the urgent gets through, in the person's own time zone.

import { fill, h } from "../dashboard/dom.js";
import { icon } from "../dashboard/icons.js";
import { call } from "./api.js";

const DAYS = { mon: "Monday", tue: "Tuesday", wed: "Wednesday", thu: "Thursday", fri: "Friday", sat: "Saturday", sun: "Sunday" };
const EVERY_DAY = Object.keys(DAYS);
const NIGHT = { start: "22:00", end: "08:00", days: EVERY_DAY };

/** The card that edits `profile` ({timezone, quiet_hours}); `keep` runs a change and tells how it went. */
export function hours(profile, keep) {
  let timezone = profile.timezone ?? Intl.DateTimeFormat().resolvedOptions().timeZone ?? "UTC";
  let windows = profile.quiet_hours.map((one) => ({ ...one, days: one.days ?? EVERY_DAY }));
  const list = h("div", { class: "windows" });
  const toggle = h("input", {
    type: "checkbox",
    role: "switch",
    class: "switch",
    checked: windows.length > 0,
    "aria-label": "Quiet hours",
    onchange: () => change(toggle.checked ? [{ ...NIGHT }] : []),
  });

  const draw = () => {
    toggle.checked = windows.length > 0;
    fill(list, windows.map(editor), windows.length > 0 && foot());
  };

  const change = (next, redraw = true) => {
    windows = next;
    if (redraw) draw();
    if (windows.some((one) => wrong(one))) return;
    const said = windows.map((one) => (one.days.length === 7 ? { start: one.start, end: one.end } : one));
    keep(() => call("/v1/inbox/profile", { timezone, quiet_hours: said })).catch(() => {});
  };

  const editor = (one, index) => {
    const hint = h("p", { class: "hint", role: "status" }, wrong(one) ?? told(one));
    const set = (name, value) => {
      one[name] = value;
      fill(hint, wrong(one) ?? told(one));
      hint.classList.toggle("bad", Boolean(wrong(one)));
      change(windows, false);
    };
    const time = (name, label) => {
      const input = h("input", {
        type: "time",
        value: one[name] === "24:00" ? "00:00" : one[name],
        required: true,
        "aria-label": label,
        onchange: () => set(name, name === "end" && input.value === "00:00" ? "24:00" : input.value),
      });
      return input;
    };
    const day = (key) =>
      h(
        "label",
        { class: "day", title: DAYS[key] },
        h("input", {
          type: "checkbox",
          class: "unseen",
          checked: one.days.includes(key),
          "aria-label": DAYS[key],
          onchange: (event) =>
            set("days", EVERY_DAY.filter((other) => (other === key ? event.target.checked : one.days.includes(other)))),
        }),
        h("span", { "aria-hidden": "true" }, DAYS[key].slice(0, 2)),
      );
    return h(
      "fieldset",
      { class: "window" },
      h("legend", { class: "unseen" }, `Quiet time ${index + 1}`),
      h("div", { class: "times" }, time("start", "From"), h("span", { class: "soft" }, "to"), time("end", "Until")),
      h("div", { class: "days" }, EVERY_DAY.map(day)),
      h(
        "button",
        {
          class: "remove",
          type: "button",
          "aria-label": `Remove quiet time ${index + 1}`,
          onclick: () => change(windows.filter((other) => other !== one)),
        },
        icon("failed"),
      ),
      hint,
    );
  };

  const foot = () =>
    h(
      "div",
      { class: "hours-foot" },
      h(
        "button",
        { class: "button", type: "button", onclick: () => change([...windows, { ...NIGHT, days: ["sat", "sun"] }]) },
        "Add another time",
      ),
      h(
        "label",
        { class: "zone" },
        h("span", { class: "soft small" }, "Time zone"),
        h(
          "select",
          {
            onchange: (event) => {
              timezone = event.target.value;
              change(windows, false);
            },
          },
          zones(timezone).map((zone) => h("option", { value: zone, selected: zone === timezone }, zone.replaceAll("_", " "))),
        ),
      ),
    );

  draw();
  return h(
    "section",
    { class: "card hours", "aria-labelledby": "hours" },
    h(
      "div",
      { class: "hours-head" },
      h(
        "div",
        null,
        h("h2", { id: "hours" }, "Quiet hours"),
        h("p", { class: "soft" }, "What comes in this time waits until it is over. Only what is urgent gets through."),
      ),
      toggle,
    ),
    list,
  );
}

function wrong(one) {
  if (!one.start || !one.end) return "Set both times.";
  if (one.start === one.end) return "It starts when it ends: set two different times.";
  return one.days.length ? null : "Choose at least one day.";
}

function told(one) {
  const night = one.end <= one.start;
  if (one.days.length === 7) return night ? "Every night." : "Every day.";
  const days = new Intl.ListFormat("en").format(one.days.map((day) => DAYS[day]));
  return night ? `${days}, until the next day.` : `${days}.`;
}

function zones(present) {
  return [...new Set([present, "UTC", ...Intl.supportedValuesOf("timeZone")])].toSorted();
}
