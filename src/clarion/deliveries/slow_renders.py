"""What takes long to render: no more of it at once than is done soon, the rest put off until its turn.

Measured costs say how much fits, so that neither what is claimed waits for its lease to run out nor other people's
messages find a provider's room full of what isn't even rendered.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from clarion.clock import monotonic
from clarion.deliveries.rendering import Order, Ready, Renderer
from clarion.model.ids import Id
from clarion.model.words import Priority
from clarion.sandbox.processes import Crashed

#: s of rendering that may lie ahead of what is taken, by whether it is urgent (critical or high).
AHEAD = {False: 1.0, True: 4.0}
#: What doesn't fit is looked at again after this (s) at the latest.
LONGEST = 60.0
#: s for which rendered messages gather before they are sent.
GATHER = 0.2

#: Deliveries whose rendering has ended its process, and the error.
Failed = Callable[[Sequence[Id], str], Awaitable[None]]


class SlowRenders:
    """What is to be rendered in the sandbox of this process: how much of it lies ahead."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._taken = 0.0  #: when all that was taken will be done, in monotonic s
        self._after = 0.0  #: when all that was put off would be done too

    def fit(self, orders: Sequence[Order]) -> tuple[list[Order], dict[Id, int]]:
        """The orders that are taken, and for how many ms the others are put off."""
        now = monotonic()
        taken: list[Order] = []
        later: dict[Id, int] = {}
        self._taken = max(self._taken, now)
        for order in sorted(orders, key=lambda o: o.claimed.priority):
            if self._taken - now < AHEAD[order.claimed.priority <= Priority.high]:
                self._taken += order.cost
                taken.append(order)
            else:
                wait = max(self._after, self._taken) - now
                self._after = now + min(wait + order.cost, LONGEST)
                later[order.claimed.id] = round(wait * 1000)
        return taken, later

    async def rendered(self, orders: Sequence[Order], failed: Failed) -> AsyncIterator[dict[Id, Ready]]:
        """The messages of orders, as they get done; those whose process ended over them are told to `failed`."""
        done: dict[Id, Ready] = {}
        began = monotonic()
        for order in orders:
            try:
                done[order.claimed.id] = await self._renderer.render(order)
            except Crashed as error:
                await failed([order.claimed.id], f"render_crashed: {error}"[:100])
            if done and monotonic() - began > GATHER:
                yield done
                done, began = {}, monotonic()
        if done:
            yield done
