// Events: send one to try things out, see beforehand what would be decided, and look one up.

import { get, post, workflowsByKey } from "../api.js";
import { h } from "../dom.js";
import { icon } from "../icons.js";
import {
  ago,
  avatar,
  card,
  empty,
  field,
  heading,
  loading,
  panel,
  refusal,
  select,
  trouble,
  verdictCard,
} from "../parts.js";
import { eventTypes, sampleData } from "../samples.js";
import { count } from "../words.js";

export function events({ query, signal }) {
  const composer = panel({
    signal,
    load: async () => [...(await workflowsByKey({ fresh: true }))],
    draw: (all) => compose(new Map(all), query, signal),
    lines: 8,
  });
  return h(
    "div",
    null,
    heading("Events", "What your application reports"),
    h(
      "div",
      { class: "grid" },
      h("div", { class: "wide-2" }, card("Send a test event", composer)),
      h("div", { class: "stack" }, card("Look one up", lookUp()), card("Lately", latest(signal))),
    ),
  );
}

function lookUp() {
  const input = h("input", {
    type: "search",
    placeholder: "evt_…",
    autocapitalize: "none",
    autocomplete: "off",
    spellcheck: "false",
  });
  const submit = (event) => {
    event.preventDefault();
    if (input.value.trim()) location.hash = `#/events/${encodeURIComponent(input.value.trim())}`;
  };
  return h(
    "form",
    { class: "inline", onsubmit: submit },
    field("Event id", input),
    h("button", { class: "button", type: "submit" }, "Look up"),
  );
}

/** The events behind the latest notifications. */
function latest(signal) {
  const load = async () => {
    const [{ items }, workflows] = await Promise.all([
      get("/v1/notifications", { limit: 100 }, signal),
      workflowsByKey(),
    ]);
    const groups = new Map();
    for (const { event_id: id, workflow, created_at: when } of items) {
      const group = groups.get(id) ?? { id, when, name: workflows.get(workflow)?.name || workflow, people: 0 };
      groups.set(id, { ...group, people: group.people + 1 });
    }
    return [...groups.values()].slice(0, 8);
  };
  const draw = (found) =>
    found.length === 0
      ? h("p", { class: "soft" }, "Nothing yet.")
      : h(
          "ul",
          { class: "rows tight" },
          found.map(({ id, when, name, people }) =>
            h(
              "li",
              null,
              h(
                "a",
                { class: "row row-two", href: `#/events/${id}` },
                h("span", { class: "clip" }, name),
                h("span", { class: "soft small" }, ago(when)),
                h("code", { class: "clip soft" }, id),
                h("span", { class: "soft small" }, count(people, "person", "people")),
              ),
            ),
          ),
        );
  return panel({ signal, every: 5000, load, draw });
}

/** The form. Data is checked as it is typed; the server's word on it stands below. */
function compose(workflows, query, signal) {
  const types = eventTypes(workflows);
  if (!types.size) {
    const hint = "Put a workflow into the workflows folder, or start with clarion serve --samples.";
    return empty("No workflow listens to any event yet", h("p", { class: "soft" }, hint));
  }
  const wanted = query.get("type") ?? "user.signed_up";
  const chosen = types.has(wanted) ? wanted : types.keys().next().value;
  const result = h("div", { class: "result", "aria-live": "polite" });
  const wrong = h("small", { class: "wrong", id: "data-wrong", "aria-live": "polite" });
  const starts = h("small", { class: "soft" });
  const type = select(
    { id: "event-type", onchange: () => suggest() },
    [...types.keys()].map((one) => [one, one]),
    chosen,
  );
  const recipients = h("input", {
    id: "event-recipients",
    required: true,
    value: query.get("recipient") ?? "ada",
    autocapitalize: "none",
    autocomplete: "off",
    spellcheck: "false",
  });
  const email = h("input", { id: "event-email", type: "email", placeholder: "ada@example.com", autocomplete: "off" });
  const when = h("input", { id: "event-at", type: "datetime-local" });
  const data = h("textarea", {
    id: "event-data",
    rows: 7,
    spellcheck: "false",
    "aria-describedby": "data-wrong",
    oninput: () => read(),
  });

  function suggest() {
    const workflow = types.get(type.value);
    starts.replaceChildren(
      "Starts ",
      h("a", { href: `#/workflows/${encodeURIComponent(workflow.key)}` }, workflow.name || workflow.key),
    );
    data.value = JSON.stringify(sampleData(workflow), null, 2);
    read();
  }

  /** The data, or undefined with a word on what is wrong. */
  function read() {
    let value;
    try {
      value = JSON.parse(data.value || "{}");
      wrong.textContent = isObject(value) ? "" : "Data is an object: { … }";
    } catch (error) {
      wrong.textContent = `Not JSON: ${error.message}`;
    }
    data.setAttribute("aria-invalid", wrong.textContent !== "");
    return wrong.textContent ? undefined : value;
  }

  function body() {
    const content = read();
    if (content === undefined) data.focus();
    const people = recipients.value.split(/[\s,]+/).filter(Boolean);
    if (!people.length) recipients.focus();
    if (content === undefined || !people.length) return null;
    const [first, ...others] = people;
    return {
      type: type.value,
      data: content,
      recipients: [email.value ? { id: first, email: email.value } : first, ...others],
    };
  }

  /** Does one of the two things with the form's event, and shows what came of it. */
  async function act(button, work) {
    const event = body();
    if (!event) return;
    button.disabled = true;
    result.replaceChildren(loading(2));
    try {
      result.replaceChildren(await work(event));
    } catch (error) {
      result.replaceChildren(error.status === 403 ? trouble(error) : refusal(error));
    } finally {
      button.disabled = false;
    }
  }

  const send = async (event) => {
    const { id } = await post("/v1/events", event, signal);
    location.hash = `#/events/${id}`;
    return loading(2);
  };
  const preview = async (event) => {
    const said = when.value ? { ...event, at: new Date(when.value).toISOString() } : event;
    return foreseen((await post("/v1/decisions/preview", said, signal)).recipients);
  };

  const sendButton = h("button", { class: "button primary", type: "submit" }, icon("events"), "Send");
  const previewButton = h(
    "button",
    { class: "button", type: "button", onclick: () => act(previewButton, preview) },
    icon("eye"),
    "Preview",
  );
  const submit = (event) => {
    event.preventDefault();
    act(sendButton, send);
  };
  suggest();
  return h(
    "form",
    { class: "composer", onsubmit: submit },
    h(
      "div",
      { class: "pair" },
      h("label", { class: "field" }, h("span", null, "Type"), type, starts),
      field("Recipients", recipients, "Ids, with commas between them"),
    ),
    h("label", { class: "field" }, h("span", null, "Data (JSON)"), data, wrong),
    h(
      "div",
      { class: "pair" },
      field("Email of the first recipient", email, "Optional; stored with the person when sent"),
      field("Preview for another time", when, "Optional; quiet hours and windows depend on it"),
    ),
    h(
      "div",
      { class: "actions" },
      sendButton,
      previewButton,
      h("span", { class: "soft small" }, "A preview decides everything, sends nothing and counts nothing."),
    ),
    result,
  );
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** What would be decided, for each person and workflow. */
function foreseen(people) {
  if (!people.length) return empty("Nobody would be told", h("p", { class: "soft" }, "The audience is empty."));
  return h(
    "div",
    { class: "foreseen" },
    h("h3", null, "What would be decided"),
    people.map(({ recipient, workflow, verdicts }) =>
      h(
        "section",
        null,
        h(
          "p",
          { class: "who" },
          avatar(recipient),
          h("strong", { class: "clip" }, recipient),
          h("span", { class: "soft clip" }, workflow),
        ),
        h("div", { class: "verdicts" }, verdicts.map(verdictCard)),
      ),
    ),
  );
}
