// The recipient's preference centre: loads what holds, shows it, and keeps each change at once.

import { fill, h } from "../dashboard/dom.js";
import { mark } from "../dashboard/icons.js";
import { Problem, call } from "./api.js";
import { channels } from "./channels.js";
import { hours } from "./hours.js";

const app = document.getElementById("app");
const status = h("p", { class: "saved", role: "status" });
let fading;

function say(text, tone) {
  clearTimeout(fading);
  status.className = `saved ${tone}`;
  status.textContent = text;
  if (tone === "good") fading = setTimeout(() => (status.className = "saved"), 2500);
}

// One change after the other, so that the last click is what holds.
let before = Promise.resolve();
let waiting = 0;

function keep(change) {
  say("Saving …", "busy");
  waiting += 1;
  const done = before.then(change).finally(() => (waiting -= 1));
  before = done.catch(() => {});
  return done.then(
    () => waiting || say("Saved", "good"),
    (problem) => {
      if (problem.status === 401) sorry(problem);
      else say(`Not saved. ${problem.message}`, "bad");
      throw problem;
    },
  );
}

function sorry(problem) {
  const [title, text, retry] =
    problem.code === "expired_token"
      ? ["This link has expired", "For your safety it works for a limited time. Open the link in a newer message, or go back to the app and try again."]
      : problem.status === 401
        ? ["This link doesn't work", "It may be cut off. Open the link in the message once more, or the settings of the app."]
        : ["We can't show this right now", problem instanceof Problem ? problem.message : "Something went wrong.", true];
  app.classList.add("note");
  fill(
    app,
    mark(44),
    h("h1", null, title),
    h("p", null, text),
    retry && h("button", { class: "button primary wide", type: "button", onclick: start }, "Try again"),
  );
}

async function start() {
  app.classList.remove("note");
  fill(app, h("p", { class: "loading", role: "status" }, h("span", { class: "unseen" }, "Loading")));
  try {
    const [{ preferences }, profile] = await Promise.all([
      call("/v1/inbox/preferences?effective=true"),
      call("/v1/inbox/profile"),
    ]);
    fill(
      app,
      h("header", { class: "top" }, mark(40), h("h1", null, "Notification preferences"), status),
      h("p", { class: "soft intro" }, "Choose what reaches you, and where. Changes are saved as you make them."),
      preferences.length
        ? channels(preferences, keep)
        : h("section", { class: "card" }, h("p", { class: "soft" }, "There is nothing to choose yet.")),
      hours(profile, keep),
    );
  } catch (problem) {
    sorry(problem);
  }
}

start();
