"""What came of events, as tests ask for it: the last verdicts with their traces, and whole stories in words."""

from __future__ import annotations

from typing import Any

import msgspec

from clarion.clock import rfc3339
from clarion.deliveries import notifications as reading
from clarion.deliveries.telling import span, tell, where_it_stands
from clarion.ledger.facts import NotificationDecided, Recorded
from clarion.model import ids
from clarion.model.decision import Trace
from clarion.model.ids import Id
from clarion.storage import Tx
from clarion.storage.ledger import START, facts_after
from clarion.testing.installation import PROJECT, Installation

#: Notifications that one story is told of at most.
MOST = 20


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The last decision on one channel step of a notification."""

    notification: str
    recipient: str
    workflow: str
    channel: str
    step: int
    verdict: str  #: deliver, defer, digest or suppress
    reason: str | None
    until: int | None  #: ms
    trace: tuple[Trace, ...]

    @property
    def until_text(self) -> str | None:
        return rfc3339(self.until)


class Stories:
    """Reads an installation's ledger."""

    def __init__(self, installation: Installation) -> None:
        self._clarion = installation.clarion

    async def verdicts(self) -> list[Verdict]:
        """The last verdict on every step, in the order in which they were taken."""
        last: dict[tuple[Id, int], Verdict] = {}
        for fact in await self._decisions():
            for step, channel, verdict, reason, until, _, trace in fact.verdicts:
                last.pop((fact.subject, step), None)
                last[fact.subject, step] = Verdict(
                    notification=ids.show(ids.NOTIFICATION, fact.subject),
                    recipient=fact.recipient or "",
                    workflow=fact.workflow,
                    channel=channel,
                    step=step,
                    verdict=verdict,
                    reason=reason,
                    until=until,
                    trace=tuple(map(Trace.read, trace)),
                )
        return list(last.values())

    async def _decisions(self) -> list[NotificationDecided]:
        found: list[NotificationDecided] = []
        place = START
        while True:
            some: list[Recorded] = await self._clarion.db.read(
                lambda tx, place=place: facts_after(tx, "operational", place.xid, place.position, 1_000)  # type: ignore[misc]
            )
            found += [r.fact for r in some if isinstance(r.fact, NotificationDecided)]
            if len(some) < 1_000:
                return found
            place = place._replace(xid=some[-1].xid, position=some[-1].position)

    async def told(self, recipient: str) -> str:
        """The stories of a recipient's notifications, the oldest first."""

        async def work(tx: Tx) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
            found, _ = await reading.notifications(tx, PROJECT, {"recipient": recipient}, None, MOST)
            return [(n, await reading.timeline(tx, PROJECT, n["id"])) for n in reversed(found)]

        return "\n".join(
            line for notification, items in await self._clarion.db.read(work) for line in _story(notification, items)
        )


def _story(notification: dict[str, Any], items: list[dict[str, Any]]) -> list[str]:
    lines = [f"  {notification['workflow']} to {notification['recipient']}"]
    lines += [f"    {d['channel']}: {where_it_stands(d)}" for d in notification["deliveries"]]
    for told in tell(items):
        for line in told.lines:
            mark = f"{span(told.after):>10}  " if line is told.lines[0] else " " * 12
            lines.append(f"    {mark}{'  ' * line.depth}{line.text}")
    return lines
