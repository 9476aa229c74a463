// How things are said: channels, states, verdicts, facts. The sentences behind reasons come from the server.

export const CHANNELS = {
  email: { name: "Email", by: "by email" },
  sms: { name: "SMS", by: "by SMS" },
  push: { name: "Push", by: "by push" },
  web_push: { name: "Web push", by: "by web push" },
  in_app: { name: "In-app", by: "in the app" },
  chat: { name: "Chat", by: "by chat" },
  webhook: { name: "Webhook", by: "by webhook" },
};

/** Every state a delivery can be in, in the order of its life, and the tone in which it is shown. */
export const STATES = {
  pending: "busy",
  sending: "busy",
  deferred: "wait",
  digested: "wait",
  sent: "good",
  delivered: "good",
  suppressed: "off",
  expired: "off",
  cancelled: "off",
  failed: "bad",
  unknown: "bad",
};

/** A verdict is shown as the state that it leads to. */
export const VERDICTS = {
  deliver: { state: "sent", said: "deliver" },
  defer: { state: "deferred", said: "defer" },
  digest: { state: "digested", said: "digest" },
  suppress: { state: "suppressed", said: "suppress" },
};

export const channelName = (channel) => CHANNELS[channel]?.name ?? plain(channel);

/** no_contact_point: "no contact point". */
export const plain = (word) => String(word).replaceAll("_", " ");

const REASONS = {
  cap_hour: "hourly limit reached",
  cap_day: "daily limit reached",
  address_suppressed: "address suppressed",
  condition_false: "condition not met",
  unknown_outcome: "answer was lost",
};

/** A reason in a few words; its whole sentence comes from the server. */
export const reasonName = (reason) => REASONS[reason] ?? plain(reason);

export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** count(1, "delivery", "deliveries"): "1 delivery". */
export function count(number, one, many = `${one}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

/** ["a", "b", "c"]: "a, b and c". */
export function list(items) {
  return items.length < 2 ? items.join("") : `${items.slice(0, -1).join(", ")} and ${items.at(-1)}`;
}

const dayFormat = new Intl.DateTimeFormat("en", { weekday: "short", day: "numeric", month: "short" });
const fullFormat = new Intl.DateTimeFormat("en", { dateStyle: "full", timeStyle: "long" });
const clockFormat = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

export const fullTime = (iso) => fullFormat.format(new Date(iso));

/** "14:03" today, "Sat, 21 Nov, 14:03" on other days, as the operator's own clock says. */
export function clockTime(iso, now = new Date()) {
  const then = new Date(iso);
  const clock = clockFormat.format(then);
  return then.toDateString() === now.toDateString() ? clock : `${dayFormat.format(then)}, ${clock}`;
}

/** A calendar day of the statistics (UTC): "Sat, 21 Nov". */
export function dayName(day, options = { weekday: "short", day: "numeric", month: "short" }) {
  return new Date(`${day}T00:00:00Z`).toLocaleDateString("en", { ...options, timeZone: "UTC" });
}

/** From "2027-03-14T07:00:00Z" to another: "420 ms", "3.2 s", "10 min". */
export function span(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
  if (ms < 5_400_000) return `${Math.round(ms / 60_000)} min`;
  if (ms < 129_600_000) return `${Math.round(ms / 3_600_000)} h`;
  return `${Math.round(ms / 86_400_000)} days`;
}

/** The answer to "was this person told?" in a few sentences. */
export function answer(deliveries) {
  const by = (...states) => {
    const channels = deliveries.filter((one) => states.includes(one.state)).map((one) => one.channel);
    return list([...new Set(channels)].map((channel) => CHANNELS[channel]?.by ?? `by ${plain(channel)}`));
  };
  const told = by("sent", "delivered");
  const coming = by("pending", "sending");
  const waiting = by("deferred");
  const gathered = by("digested");
  const doubtful = by("unknown");
  const failed = by("failed");
  const said = [];
  if (told) said.push(`was told ${told}`);
  if (coming) said.push(`is being told ${coming}`);
  if (waiting) said.push(`waits to be told ${waiting}`);
  if (gathered) said.push(`is told ${gathered} together with other things`);
  if (doubtful) said.push(`may or may not have been told ${doubtful}`);
  if (failed) said.push(`could not be reached ${failed}`);
  return said.length ? list(said) : "was not told";
}

const OUTCOMES = {
  accepted: "took it",
  transient: "failed for now",
  throttled: "asks to slow down",
  uncertain: "gave no complete answer",
  bad_address: "says the address can't receive",
  opted_out: "says the person opted out there",
  refused: "refused the message",
  misconfigured: "is set up wrongly",
};

const ACTS = {
  seen: "Seen",
  read: "Read",
  unread: "Marked as unread",
  archived: "Archived",
  unarchived: "Taken out of the archive",
  snoozed: "Snoozed",
};

/** What a fact of the timeline says: { state, title, text }. `state` picks icon and tone. */
export const STORIES = {
  EventAccepted: (d) => ({
    icon: "events",
    title: "Event accepted",
    text: [`${d.type} for ${audience(d)}`, d.actor && `caused by ${d.actor}`, d.tenant && `tenant ${d.tenant}`],
  }),
  EventCancelled: (d) => ({
    state: "cancelled",
    title: "Event cancelled",
    text: [`${count(d.cancelled, "delivery", "deliveries")} had not gone out yet`],
  }),
  NotificationDecided: (d) => ({
    icon: "split",
    title: d.again ? "Decided again" : "Decided",
    text: [d.again ? again(d) : `by ${d.workflow}, version ${d.version}`],
  }),
  EventHeld: () => ({ state: "deferred", title: "Held back", text: ["somebody paused the event"] }),
  EventResumed: () => ({ icon: "events", title: "Goes on", text: ["somebody resumed the event"] }),
  DigestClosed: (d) => ({
    state: "digested",
    title: `${channelName(d.channel)}: gathered`,
    text: [`${count(d.items, "message", "messages")} became this one`],
    until: d.since && ["Since", d.since],
  }),
  DeliverySettled: (d) => ({
    state: d.state,
    title: `${channelName(d.channel)}: ${plain(d.state)}`,
    text: [],
    sentence: d.sentence,
  }),
  DeliveryAttempted: (d) => ({
    state: d.state,
    title: `${channelName(d.channel)}: ${d.outcome === "accepted" ? plain(d.state) : attemptTitle(d)}`,
    text: [
      `${d.provider} ${OUTCOMES[d.outcome] ?? plain(d.outcome)}${d.took_ms ? ` in ${span(d.took_ms)}` : ""}`,
      d.number > 1 && `attempt ${d.number}`,
      d.code && `code ${d.code}`,
      d.detail,
      d.reference && `reference ${d.reference}`,
      d.possible_duplicate && "may be there twice",
    ],
    sentence: d.sentence,
    retry: d.retry_at,
  }),
  DeliveryCancelled: (d) => ({
    state: "cancelled",
    title: `${channelName(d.channel)}: cancelled`,
    text: [],
    sentence: d.sentence,
  }),
  NotificationTouched: (d) => ({
    icon: "eye",
    title: ACTS[d.act] ?? capital(plain(d.act)),
    text: ["by the person"],
    until: d.until && ["Comes back", d.until],
  }),
  ReceiptRecorded: (d) => ({
    state: d.state,
    title: `${channelName(d.channel)}: ${plain(d.event)}`,
    text: [`says ${d.provider}`, d.code && `code ${d.code}`, d.raw && `in its word: ${d.raw}`],
    sentence: d.sentence,
  }),
  DeliveryFailedOver: (d) => ({
    state: "pending",
    title: `${channelName(d.channel)}: goes to ${d.to}`,
    text: [
      d.cause === "failed" ? `${d.provider} says that it didn't arrive` : `${d.provider} didn't report it in time`,
    ],
  }),
};

function audience({ audience: said, recipients }) {
  if (said === "broadcast") return "everybody";
  return said.startsWith("topic")
    ? `the subscribers of ${said.replace(/^topic:?/, "") || "a topic"}`
    : count(recipients, "recipient");
}

function attemptTitle(d) {
  if (d.state === "pending") return "attempt failed";
  return plain(d.state);
}

function again(d) {
  const why = {
    wait: "the wait of the workflow was over",
    quiet_hours: "the quiet hours were over",
    send_window: "the hours in which the workflow may send had begun",
    delivery_window: "the hours that the person prefers had begun",
    scheduled: "the time that the event asked for had come",
    cap_hour: "a slot of the hourly limit was free",
    cap_day: "a slot of the daily limit was free",
    digest: "the digest was closed",
  };
  return `because ${why[d.again] ?? plain(d.again)}`;
}

/** A fact that this page doesn't know yet, as its own words. */
export function unknownStory(fact, detail) {
  const title = capital(fact.replace(/([a-z])([A-Z])/g, (_, a, b) => `${a} ${b.toLowerCase()}`));
  const text = Object.entries(detail).filter(([, value]) => typeof value !== "object");
  return { icon: "note", title, text: text.map(([key, value]) => `${plain(key)} ${value}`) };
}
