"""A notification's timeline in words: what `clarion explain` and the test kit tell. Pure; no terminals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from clarion.clock import DAY, HOUR, MINUTE, SECOND, rfc3339

Detail = Mapping[str, Any]

#: Why a decision was taken again, where it isn't simply that its time had come.
_AGAIN = {
    "changed": "preferences, addresses or hours changed meanwhile, or it had waited for too long",
    "wait": "the wait was over",
    "scheduled": "its time had come",
    "quiet_hours": "the quiet hours were over",
    "send_window": "the workflow's hours had come",
    "delivery_window": "the person's hours had come",
    "cap_hour": "the hour had room again",
    "cap_day": "the day had room again",
    "attention_budget": "the budget had room again",
    "digest": "the digest was full or its time had come",
}
_VERDICTS = {"deliver": "to be sent now", "defer": "put off", "digest": "gathered", "suppress": "not sent"}
_MARKS = {"pass": "+", "note": "·", "suppress": "x", "defer": "~", "digest": "&"}  # nosec B105  # no password
_OUTCOMES = {
    "accepted": "accepted",
    "transient": "failed for the moment",
    "throttled": "refused for the moment, too many at once",
    "uncertain": "got no answer: it may have been sent",
    "bad_address": "said that the address can't be used",
    "opted_out": "said that the person opted out there",
    "refused": "refused the message",
    "misconfigured": "refused our account",
}
_RECEIPTS = {
    "sent": "it was handed on",
    "delivered": "it arrived",
    "bounced": "it bounced: the address is bad",
    "failed": "it didn't arrive",
    "complained": "it was reported as spam",
    "opened": "it was opened",
    "clicked": "a link in it was followed",
    "unsubscribed": "the person unsubscribed there",
    "resubscribed": "the person subscribed again there",
    "unrecognised": "a word that this release doesn't know",
}
_ACTS = {
    "seen": "The person saw it.",
    "read": "The person read it.",
    "unread": "The person marked it as unread.",
    "archived": "The person archived it.",
    "unarchived": "The person took it out of the archive.",
    "snoozed": "The person put it aside",
}
_TONES = {"deliver": "good", "defer": "wait", "digest": "wait", "suppress": "bad"}


class Line(NamedTuple):
    """A line of the story: how deep it stands, and how it sounds (plain, good, bad, wait, dim)."""

    text: str
    depth: int = 0
    tone: str = "plain"


class Told(NamedTuple):
    """What happened at an instant: the ms since the story began, and the lines that tell it."""

    at: int
    after: int
    lines: list[Line]


def tell(items: Iterable[Detail]) -> list[Told]:
    """The story of a timeline, as `notifications.timeline` gives it."""
    told: list[Told] = []
    for item in items:
        lines = _TELLERS.get(item["fact"], _other(item["fact"]))(item["detail"])
        told.append(Told(item["at"], item["at"] - (told[0].at if told else item["at"]), lines))
    return told


def where_it_stands(delivery: Detail) -> str:
    """One delivery in a few words: its state, why, since or until when, through which provider."""
    words: str = delivery["state"]
    if delivery.get("reason"):
        words += f" ({delivery['reason']})"
    if delivery["state"] in ("pending", "deferred") and delivery.get("due_at"):
        words += f", next look at {rfc3339(delivery['due_at'])}"
    if delivery.get("provider"):
        words += f", through {delivery['provider']}"
    attempts = len(delivery.get("attempts") or ())
    return words if attempts < 2 else f"{words}, {attempts} attempts"


def span(ms: int) -> str:
    """A stretch of time as people say it: `+12 ms`, `+3.2 s`, `+10 min`, `+2 h 5 min`, `+3 d 4 h`."""
    if ms < SECOND:
        return f"+{ms} ms"
    if ms < MINUTE:
        return f"+{ms / SECOND:.1f} s"
    if ms < HOUR:
        return f"+{ms // MINUTE} min" + (f" {ms % MINUTE // SECOND} s" if ms % MINUTE >= SECOND else "")
    if ms < DAY:
        return f"+{ms // HOUR} h" + (f" {ms % HOUR // MINUTE} min" if ms % HOUR >= MINUTE else "")
    return f"+{ms // DAY} d" + (f" {ms % DAY // HOUR} h" if ms % DAY >= HOUR else "")


# --- the facts --------------------------------------------------------------------------------------------------------


def _accepted(d: Detail) -> list[Line]:
    whom = {"topic": "for a topic", "broadcast": "for everybody"}.get(d["audience"], _people(d["recipients"]))
    by = (f", by {d['actor']}" if d.get("actor") else "") + (f", of tenant {d['tenant']}" if d.get("tenant") else "")
    return [Line(f"The event {d['type']} was accepted {whom}{by}.")]


def _people(n: int) -> str:
    return "for 1 person" if n == 1 else f"for {n:,} people"


def _decided(d: Detail) -> list[Line]:
    again = d.get("again")
    head = "Decided." if not again else f"Decided again: {_AGAIN.get(again, again)}."
    lines = [Line(head)]
    for verdict in d["verdicts"]:
        lines += _verdict(verdict)
    return lines


def _verdict(v: Detail) -> list[Line]:
    words = str(_VERDICTS.get(v["verdict"], v["verdict"]))
    if v["until"]:
        words += f" until {rfc3339(v['until'])}"
    if len(v["deliveries"]) > 1:
        words += f", to {len(v['deliveries'])} addresses"
    why = f" ({v['reason']}) {v['sentence']}" if v["reason"] else ""
    lines = [Line(f"{v['channel']}: {words}{why}", 1, _TONES.get(v["verdict"], "plain"))]
    lines += [Line(f"{_MARKS.get(t['result'], '·')} {t['rule']:<11} {t['detail']}", 2, "dim") for t in v["trace"]]
    return lines


def _attempted(d: Detail) -> list[Line]:
    outcome = d["outcome"]
    said = " - ".join(str(d[name]) for name in ("code", "detail") if d.get(name))
    text = f"{d['channel']}: {d['provider']} {_OUTCOMES.get(outcome, outcome)}"
    text += f" [{said}]" if said else ""
    if d.get("reference"):
        text += f", as {d['reference']}"
    if d["number"] > 1:
        text += f"; attempt {d['number']}"
    if d.get("took_ms"):
        text += f", {d['took_ms']} ms"
    lines = [Line(f"{text}.", 0, "good" if outcome == "accepted" else "bad")]
    if d.get("possible_duplicate"):
        lines.append(Line("It may have been sent before, so that the person may have it twice.", 1, "wait"))
    if d.get("retry_at"):
        lines.append(Line(f"To be tried again at {rfc3339(d['retry_at'])}.", 1, "wait"))
    elif d["state"] not in ("sent", "pending"):
        lines.append(Line(f"It is {d['state']} for good. {d.get('sentence') or ''}".rstrip(), 1, "bad"))
    return lines


def _receipt(d: Detail) -> list[Line]:
    word = d["event"]
    said = f" [{d['code']}]" if d.get("code") else ""
    tone = "good" if word in ("delivered", "opened", "clicked", "sent") else "bad"
    return [Line(f"{d['channel']}: {d['provider']} reports: {_RECEIPTS.get(word, word)}{said}.", 0, tone)]


def _cancelled(d: Detail) -> list[Line]:
    text = f"{d['channel']}: withdrawn before it went out ({d['reason']}). {d.get('sentence') or ''}"
    return [Line(text.rstrip(), 0, "bad")]


def _settled(d: Detail) -> list[Line]:
    return [Line(f"{d['channel']}: {d['state']} ({d['reason']}). {d.get('sentence') or ''}".rstrip(), 0, "bad")]


def _touched(d: Detail) -> list[Line]:
    words = str(_ACTS.get(d["act"], d["act"]))
    if d["act"] == "snoozed":
        words += f" until {rfc3339(d['until'])}." if d.get("until") else " no longer."
    return [Line(words, 0, "good")]


def _digest(d: Detail) -> list[Line]:
    since = f", since {rfc3339(d['since'])}" if d.get("since") else ""
    return [Line(f"{d['channel']}: {d['items']} messages became this one{since}.")]


def _other(fact: str) -> Callable[[Detail], list[Line]]:
    def told(d: Detail) -> list[Line]:
        words = ", ".join(f"{name} {value}" for name, value in d.items() if name not in ("sentence", "trace"))
        return [Line(f"{fact}: {words}")]

    return told


_TELLERS: dict[str, Callable[[Detail], list[Line]]] = {
    "EventAccepted": _accepted,
    "EventCancelled": lambda d: [Line(f"The event was cancelled; {d['cancelled']} of it hadn't gone out.", 0, "bad")],
    "NotificationDecided": _decided,
    "DeliveryAttempted": _attempted,
    "DeliveryCancelled": _cancelled,
    "DeliverySettled": _settled,
    "NotificationTouched": _touched,
    "ReceiptRecorded": _receipt,
    "DigestClosed": _digest,
    "UnknownFact": lambda d: [Line(f"{d['kind']}: written by a newer release of Clarion.", 0, "dim")],
}
