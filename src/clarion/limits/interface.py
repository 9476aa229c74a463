"""The limits store as its users see it. `embedded` and `redis` implement it; `clarion.testing.limits` holds them to it.

Caps, in both stores: a batch is one atomic call, decided in the order of its requests. A request takes a slot in all
its caps or in none. Whoever asks again with the same owner within RESTAMP_AFTER is granted again and takes nothing;
later, what is held is moved to `now` if there is room without it, else refused and left where it was: the caller gives
it back if nothing was sent under it. Of the requests of one `group` the first that fits wins, and a member that took
its slots within RESTAMP_AFTER stays the winner.

Must not know what is sent, nor to whom a counter belongs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from clarion.model.decision import Counter, Grant, SlotRequest
from clarion.model.ids import Id
from clarion.storage import Tx

#: A slot stamped longer ago than this is stamped anew at the claim (seconds).
RESTAMP_AFTER = 5
#: The health window moves in this many steps.
STEPS = 30


#: Loads from SQL the sends of a day (ms, owner of the slot) that the counters count, for a store that may have
#: forgotten them. Counters without any may be left out.
LoadCold = Callable[[list[Counter]], Awaitable[Mapping[Counter, Sequence[tuple[int, Id]]]]]


class Grants(dict[Id, Grant]):
    """The answers by owner, and the epoch of the store they were given in (see `LimitsStore.standing`)."""

    def __init__(self, answers: dict[Id, Grant], epoch: int = 0) -> None:
        super().__init__(answers)
        self.epoch = epoch


class Allowed(NamedTuple):
    """The answer of a token bucket: how many tokens it gave; if fewer than wanted, `retry_after` ms until the next."""

    granted: int
    retry_after: int = 0


class Health(NamedTuple):
    """What a provider's attempts in the window came to; faults of the address count in neither."""

    accepted: int
    failed: int

    @classmethod
    def of(cls, counts: Iterable[Sequence[int]]) -> Health:
        """The sum of (accepted, failed) counts; a receipt may have turned around more than the window still holds."""
        accepted, failed = (sum(column) for column in zip((0, 0), *counts, strict=True))
        return cls(max(0, accepted), max(0, failed))

    @property
    def samples(self) -> int:
        return self.accepted + self.failed

    @property
    def rate(self) -> float:
        """The share that was accepted; 1.0 without samples."""
        return self.accepted / self.samples if self.samples else 1.0


class Missed(Exception):
    """A subscription may have missed something: subscribe anew, then read the state itself."""


class Subscription(Protocol):
    """Live messages of one channel, from the moment `subscribe` answered.

    Iterating raises Missed after a gap, or after `interrupt`.
    """

    def __aiter__(self) -> AsyncIterator[bytes]: ...
    async def __anext__(self) -> bytes: ...
    def interrupt(self) -> None: ...
    async def close(self) -> None: ...


class LimitsStore(Protocol):
    """All that workers have to agree on and that changes too fast for the database. Everything raises Unavailable."""

    #: True: caps are kept by the decision's transaction, which `tx` has to be. False: they are asked for outside,
    #: `tx` is None.
    in_transaction: bool

    async def reserve(self, requests: Sequence[SlotRequest], now: int, tx: Tx | None = None) -> Grants:
        """Takes slots for what goes out at `now`."""

    async def peek(self, requests: Sequence[SlotRequest], now: int, tx: Tx | None = None) -> Grants:
        """What `reserve` would answer; takes nothing."""

    async def restamp(self, requests: Sequence[SlotRequest], now: int, tx: Tx | None = None) -> Grants:
        """As `reserve`, for what was decided before: ignores groups."""

    async def touch(self, requests: Sequence[SlotRequest], now: int, tx: Tx | None = None) -> None:
        """Moves stamps older than RESTAMP_AFTER to `now`, in those of the counters that hold one; asks no limit.

        That keeps the caps as long as a stamp is less than an hour old: the hour and the day that end at `now` hold
        as many sends as before, and whatever was granted since was judged with this one inside its windows.
        """

    async def release(self, requests: Sequence[SlotRequest], tx: Tx | None = None) -> None:
        """Gives slots back; twice is harmless."""

    async def standing(self, tx: Tx, grants: Grants) -> bool:
        """In the transaction that records what was granted: do the slots still stand until it commits?

        False after the store lost its memory: roll back and decide again, else what others load from SQL lacks these
        sends.
        """

    async def take(self, bucket: str, n: int, rate: float, burst: float, now: int) -> list[int]:
        """Reserves `n` turns at a provider and gives their instants (ms), none before `now`.

        `rate` a second, of which `burst` (at least one) may begin at once: over all callers no second holds more than
        rate + burst of them.
        """

    async def allow(self, wanted: Mapping[str, int], rate: float, burst: float, now: int) -> dict[str, Allowed]:
        """Tokens of some buckets, by the number wanted, now or not at all: `rate` a second, at most `burst` at once."""

    async def observe(self, provider: str, accepted: int, failed: int, now: int) -> None:
        """Counts outcomes for the provider's health; negative where a receipt turns an outcome around."""

    async def health(self, providers: Sequence[str], now: int) -> dict[str, Health]:
        """The outcomes of the window that ends at `now`, to within a thirtieth of its length."""

    async def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Sends (channel, payload) pairs to whoever is subscribed now, in any process."""

    async def subscribe(self, channel: str) -> Subscription:
        """Listens to a channel; answers once nothing published from now on can pass by unseen."""

    async def check(self) -> None:
        """Looks whether the store does its work now."""

    def doubt(self, since: float) -> None:
        """Somebody has waited in vain for it since then (by the monotonic clock): it looks how it is."""

    async def close(self) -> None:
        """Ends connections; subscriptions raise Missed."""
