"""The live inbox: whoever looks at an inbox is told what comes into it and what changes, as it happens.

A nudge through the limits store names what changed, and holds no text; who follows the inbox then reads the database,
in one reading with all others that were nudged at the same time. Nudges are hints: they may be lost, late or doubled.
An inbox knows how many things ever came into it and how often it was changed; that is a follower's place, and one that
finds itself behind reads on from there, or says `reset` where it can't tell what changed. It never skips anything.
"""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import msgspec
import structlog

from clarion.clock import Clock
from clarion.directory.vault import Vault
from clarion.inbox import feed
from clarion.inbox.boxes import Box
from clarion.inbox.feed import Counts, Item, Stand, shown
from clarion.limits.interface import LimitsStore, Missed, Subscription
from clarion.limits.live import Listener
from clarion.model.errors import Unavailable
from clarion.model.ids import Id
from clarion.storage import Database, Tx

log = structlog.get_logger("clarion.inbox")

#: s of silence after which a follower looks by itself, and its line shows that it is alive.
QUIET: Final = 20.0
#: s between looks of a follower whose nudges can't reach it.
RETRY: Final = 3.0
#: Nudges that wait for the store, at most.
MOST_UNTOLD: Final = 10_000
#: Missed arrivals that are told one by one; whoever was away for longer reads the inbox anew.
MOST_MISSED: Final = 100
#: Followers that one reading serves.
TOGETHER: Final = 500

_PLACE: Final = re.compile(r"([0-9]{1,18})\.([0-9]{1,18}):([0-9]{1,18})")
_EMPTY: Final = Stand(0, 0, 0, Counts())


class Place(NamedTuple):
    """How far a follower has come. An erased person's next inbox has another epoch."""

    epoch: int
    acts: int
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}.{self.acts}:{self.seq}"

    @classmethod
    def read(cls, text: str) -> Place | None:
        """The place behind an event's id; None for anything else."""
        found = _PLACE.fullmatch(text)
        return cls(*map(int, found.groups())) if found else None


class Nudge(msgspec.Struct, frozen=True, array_like=True):
    """What changed in an inbox, and where it stood after that."""

    seq: int
    acts: int
    arrived: tuple[Id, ...] = ()
    touched: tuple[Id, ...] = ()

    @classmethod
    def of(cls, box: Box, arrived: Sequence[Id] = (), touched: Sequence[Id] = ()) -> Nudge:
        """The nudge of a change that is about to be committed."""
        return cls(box.seq, box.acts, tuple(arrived), tuple(touched))


class Event(NamedTuple):
    """What a follower hears: `notification` and `updated` with an item, `counts`, `reset`. None: nothing, but alive."""

    name: str | None
    data: Any
    place: Place


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Nudge).decode


class LiveInboxes:
    """Nudges, and those who follow."""

    def __init__(self, db: Database, vault: Vault, limits: LimitsStore, clock: Clock) -> None:
        self._db, self._vault, self._limits, self._clock = db, vault, limits, clock
        self._looking: asyncio.Task[None] | None = None
        self._waiting: list[_Look] = []
        self._telling: asyncio.Task[None] | None = None
        self._untold: list[tuple[str, bytes]] = []
        self._open: set[Subscription] = set()
        self._ended = False

    async def nudge(self, project: int, nudges: Mapping[str, Nudge]) -> None:
        """Tells those who follow these people's inboxes, after the commit. Failing to delays, and loses nothing.

        Nobody waits for the store: what comes meanwhile goes out together, and of too much the rest is dropped.
        """
        room = MOST_UNTOLD - len(self._untold)
        self._untold += [(_channel(project, who), _encode(nudge)) for who, nudge in nudges.items()][:room]
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell())

    async def _tell(self) -> None:
        while self._untold:
            untold, self._untold = self._untold, []
            try:
                await self._limits.publish(untold)
            except Unavailable as error:
                log.warning("live inboxes aren't told; they will look by themselves", error=str(error))

    async def follow(self, project: int, recipient: str, after: Place | None) -> AsyncGenerator[Event]:
        """What happens in an inbox, from `after` on (None: from now on), until `end`."""
        here = after
        while not self._ended:
            nudges = await self._subscribed(project, recipient)
            self._open.add(nudges)
            try:
                async with aclosing(self._followed(project, recipient, here, nudges)) as events:
                    async for event in events:
                        here = event.place
                        yield event
            except Missed:
                continue  # the line to the store broke, or the reader is slow: read on from `here`
            finally:
                self._open.discard(nudges)
                await nudges.close()

    async def _subscribed(self, project: int, recipient: str) -> Subscription:
        """A line to the store; while there is none, one that tells nothing, and after a while to ask again."""
        try:
            return await self._limits.subscribe(_channel(project, recipient))
        except Unavailable:
            silent = Listener(lambda _: None)
            asyncio.get_running_loop().call_later(RETRY, silent.interrupt)
            return silent

    def end(self) -> None:
        """Lets all followers go: the process is about to end."""
        self._ended = True
        for nudges in tuple(self._open):
            nudges.interrupt()

    async def _followed(
        self, project: int, recipient: str, after: Place | None, nudges: Subscription
    ) -> AsyncGenerator[Event]:
        if after is None:
            look = await self._look(project, recipient, None)
            here = look.place
            yield Event("counts", look.stand.counts._asdict(), here)
        else:
            here = after
            for event in await self._changes(project, recipient, here, None):
                here = event.place
                yield event
        while True:
            nudge = await _next(nudges)
            if nudge is not None and nudge.seq <= here.seq and nudge.acts <= here.acts:
                continue  # seen already
            for event in await self._changes(project, recipient, here, nudge):
                here = event.place
                yield event
            if nudge is None:
                yield Event(None, None, here)

    async def _changes(self, project: int, recipient: str, here: Place, nudge: Nudge | None) -> list[Event]:
        """What happened since `here`; `nudge` helps to find it."""
        look = await self._look(project, recipient, nudge)
        present = look.place
        if present == here:
            return []
        counts = Event("counts", look.stand.counts._asdict(), present)
        touched = () if nudge is None else nudge.touched
        same = here.epoch in {present.epoch, _EMPTY.epoch}  # the first thing that comes in makes the inbox
        known = same and present.acts - here.acts in {0, len(touched)}
        if not known or not 0 <= present.seq - here.seq <= MOST_MISSED:
            return [Event("reset", {}, present), counts]
        arrived = [item for item in look.items if here.seq < item.seq <= present.seq]
        if len(arrived) < present.seq - here.seq:
            arrived = await self._missed(project, recipient, here.seq, present.seq)
        now = self._clock.now()
        events = [
            Event("notification", shown(item, now), present._replace(seq=item.seq, acts=here.acts)) for item in arrived
        ]
        if present.acts != here.acts:
            changed = [item for item in look.items if item.id in touched and item.seq <= here.seq]
            events += [Event("updated", shown(item, now), present) for item in changed]
        return [*events, counts]

    async def _missed(self, project: int, recipient: str, after: int, upto: int) -> list[Item]:
        found = await self._db.read(
            lambda tx: feed.arrived_after(tx, self._vault, project, recipient, after, upto - after)
        )
        return [item for item in found if item.seq <= upto]

    # --- reading together ---------------------------------------------------------------------------------------------

    async def _look(self, project: int, recipient: str, nudge: Nudge | None) -> Seen:
        """Where an inbox stands, and the items of a nudge; in one reading with others."""
        wanted = () if nudge is None else (*nudge.arrived, *nudge.touched)
        look = _Look(project, recipient, wanted, asyncio.get_running_loop().create_future())
        self._waiting.append(look)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._read())
        return await look.seen

    async def _read(self) -> None:
        while self._waiting:
            looks, self._waiting = self._waiting[:TOGETHER], self._waiting[TOGETHER:]
            try:
                seen = await self._db.read(lambda tx, looks=looks: self._seen(tx, looks))  # type: ignore[misc]
            except Exception as error:  # noqa: BLE001  # goes to those who asked
                for look in looks:
                    if not look.seen.done():
                        look.seen.set_exception(error)
                continue
            for look, answer in zip(looks, seen, strict=True):
                if not look.seen.done():
                    look.seen.set_result(answer)

    async def _seen(self, tx: Tx, looks: Sequence[_Look]) -> list[Seen]:
        now = self._clock.now()
        stands: dict[tuple[int, str], Stand] = {}
        items: dict[tuple[int, str], list[Item]] = defaultdict(list)
        for project in sorted({look.project for look in looks}):
            mine = [look for look in looks if look.project == project]
            found = await feed.stands(tx, project, {look.recipient for look in mine}, now)
            stands.update({(project, who): stand for who, stand in found.items()})
            for item in await feed.items(tx, self._vault, project, {id_ for look in mine for id_ in look.wanted}):
                items[project, item.recipient].append(item)
        return [_answer(look, stands, items) for look in looks]


class Seen(NamedTuple):
    """What a look found; the items in the order in which they came."""

    stand: Stand
    items: list[Item]

    @property
    def place(self) -> Place:
        return Place(self.stand.epoch, self.stand.acts, self.stand.seq)


class _Look(NamedTuple):
    project: int
    recipient: str
    wanted: tuple[Id, ...]
    seen: asyncio.Future[Seen]


def _answer(look: _Look, stands: Mapping[tuple[int, str], Stand], items: Mapping[tuple[int, str], list[Item]]) -> Seen:
    key = look.project, look.recipient
    mine = [item for item in items.get(key, ()) if item.id in look.wanted]
    return Seen(stands.get(key, _EMPTY), sorted(mine, key=lambda item: item.seq))


async def _next(nudges: Subscription) -> Nudge | None:
    """The next nudge; None after a while without any."""
    try:
        async with asyncio.timeout(QUIET):
            return _decode(await anext(nudges))
    except TimeoutError:
        return None


def _channel(project: int, recipient: str) -> str:
    """A name that tells nothing: an id may be somebody's address."""
    return f"inbox:{project}:{blake2b(recipient.encode(), digest_size=16).hexdigest()}"
