"""What tests of the rules start from: a workflow of in_app, push and email, a person with a device and an address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from clarion.clock import MINUTE, from_rfc3339
from clarion.decisions.rules import candidates, verdicts
from clarion.model.decision import GRANTED, Candidate, Context, Grant, Verdict
from clarion.model.events import Event
from clarion.model.ids import new_id
from clarion.model.people import ContactPoint, Profile
from clarion.model.words import CHANNEL_OF, Channel, ContactKind
from clarion.model.workflow import Step, Window, Workflow

NOW = from_rfc3339("2027-05-11T12:00:00Z")  # a Tuesday
GRANTS_ALL: Mapping[int, Grant] = {}

EVENT = Event(project=1, id=new_id(NOW, bytes(10)), type="comment.created", data={"author": "Ada"}, accepted_at=NOW)
WORKFLOW = Workflow(
    key="comment_reply",
    on=("comment.created",),
    category="social",
    steps=(
        Step(index=0, channel=Channel.IN_APP),
        Step(index=1, channel=Channel.PUSH),
        Step(index=2, channel=Channel.EMAIL),
    ),
)


def contact(kind: ContactKind, number: int = 0, **more: Any) -> ContactPoint:
    """A contact point of some kind."""
    return ContactPoint(id=bytes([number]) * 16, channel=CHANNEL_OF[kind], kind=kind, **more)


PHONE = contact(ContactKind.FCM, 1)
ADDRESS = contact(ContactKind.EMAIL, 2)
CONTEXT = Context(event=EVENT, workflow=WORKFLOW, profile=Profile(id="ada"), contacts=(PHONE, ADDRESS))


def context(
    base: Context = CONTEXT,
    *,
    event: Mapping[str, Any] | None = None,
    workflow: Mapping[str, Any] | None = None,
    profile: Mapping[str, Any] | None = None,
    **more: Any,
) -> Context:
    """`base` with other fields, those of its event, workflow and profile included."""
    return replace(
        base,
        event=replace(base.event, **(event or {})),
        workflow=replace(base.workflow, **(workflow or {})),
        profile=replace(base.profile, **(profile or {})),
        **more,
    )


def steps(*channels_and_waits: Channel | tuple[int, str | None], **more: Any) -> tuple[Step, ...]:
    """Steps in order: a channel, or (minutes to wait, unless). `more` goes to every channel step."""
    return tuple(
        Step(index=index, channel=item, **more)
        if isinstance(item, Channel)
        else Step(index=index, wait=item[0] * MINUTE, unless=item[1])
        for index, item in enumerate(channels_and_waits)
    )


def prepared(of: Context, now: int = NOW) -> list[Candidate]:
    """The candidates of one context."""
    return candidates([of], now)[0]


def decided(of: Context, now: int = NOW, grants: Mapping[int, Grant] = GRANTS_ALL) -> list[Verdict]:
    """The verdicts on one context; slots are granted but for the steps in `grants`."""
    found = prepared(of, now)
    answers = {c.request.owner: grants.get(c.verdict.step, GRANTED) for c in found if c.request is not None}
    return list(verdicts([of], [found], answers, now)[0].verdicts)


def said(verdict: Verdict) -> str:
    """A verdict in short: `deliver`, or `suppress opted_out`."""
    return verdict.verdict if verdict.reason is None else f"{verdict.verdict} {verdict.reason}"


def all_said(of: Sequence[Verdict]) -> dict[str, str]:
    """Verdicts in short by channel."""
    return {verdict.channel: said(verdict) for verdict in of}


def one(of: Sequence[Verdict], channel: Channel) -> Verdict:
    """The verdict on a channel."""
    return next(verdict for verdict in of if verdict.channel is channel)


def at(zone: str, text: str, fold: int = 0) -> int:
    """The ms at which clocks in `zone` show `text` (2027-03-14 01:30), the second time with `fold` 1."""
    moment = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold)
    return round(moment.timestamp() * 1000)


def window(start: str, end: str, *days: int, channel: Channel | None = None) -> Window:
    """`22:00` to `08:00`, on all days or those given."""
    first, last = (int(text[:2]) * 60 + int(text[3:]) for text in (start, end))
    return Window(start=first, end=last, days=days or tuple(range(7)), channel=channel)
