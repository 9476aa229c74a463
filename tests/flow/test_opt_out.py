"""An opt-out, or other defaults of a tenant, hold within a second for what was decided before and isn't sent yet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from clarion.deliveries.dispatch import FRESH
from clarion.deliveries.pace import Pace
from clarion.deliveries.rendering import Order, Ready, Renderer
from clarion.directory.preferences import PreferenceChange, SetPreferences, preferences_of
from clarion.directory.tenants import PutTenants, tenant_of
from clarion.model.delivery import Message
from tests.composed import PROJECT, Installation

MAIL = {"channel": "email", "subject": "hello", "text": "for {{ recipient.id }}"}
_BEGUN = """
    SELECT n.recipient FROM deliveries d JOIN notifications n ON n.project = d.project AND n.id = d.notification_id
    WHERE d.state IN ('sending', 'sent')
"""
FREELY = {"email": {"max_per_hour": 10_000, "max_per_day": 10_000}}
OFF = [{"channel": "email", "enabled": False}]


async def half_sent(clarion: Installation, **event: Any) -> bytes:
    """An event for 300 people, decided for all of them, while the provider hangs from the first on."""
    people = [f"p{i:03}" for i in range(300)]
    await clarion.people(*people)
    await clarion.workflow("news", MAIL, preferences=FREELY)
    clarion.providers["first"].open.clear()
    accepted = await clarion.event("news", recipients=people, **event)

    async def decided() -> bool:
        return not await clarion.rows("SELECT 1 FROM shards WHERE done = :no", no=False)

    await clarion.until(decided)
    await clarion.sent(count=2)
    return accepted


async def tally(clarion: Installation, event: bytes) -> tuple[set[str], set[str]]:
    """Who was sent to, and who was spared because of an opt-out, once all is settled."""
    found = await clarion.settled(event)
    states = {n["recipient"]: (n["deliveries"][0]["state"], n["deliveries"][0]["reason"]) for n in found}
    told = {who for who, state in states.items() if state == ("sent", None)}
    assert {who for who, state in states.items() if state == ("suppressed", "opted_out")} == states.keys() - told
    return told, states.keys() - told


async def leave(clarion: Installation, *people: str) -> None:
    """They switch mail off."""
    changes = tuple(PreferenceChange(recipient=who, preferences=preferences_of(OFF)) for who in people)
    await clarion.clarion.bus.send(SetPreferences(project=PROJECT, now=clarion.clarion.clock.now(), changes=changes))


async def begun(clarion: Installation) -> set[str]:
    """Who was sent to, or claimed for it, by any claim that has begun before this."""
    text = "SELECT id FROM deliveries ORDER BY id"
    await clarion.clarion.db.write(lambda tx: tx.fetch(text + tx.lock_rows))  # waits for a claim that is being made
    return {row["recipient"] for row in await clarion.rows(_BEGUN)}


def recipients(messages: list[Message]) -> set[str]:
    return {message.recipient for message in messages}


async def test_everybody_who_opts_out_under_load_gets_nothing_that_was_claimed_after_the_commit(
    clarion: Installation,
) -> None:
    # Given a batch on its way
    event = await half_sent(clarion)
    # When every other person switches mail off, in batches, while it goes on
    leaving = [f"p{i:03}" for i in range(0, 300, 2)]
    started = set[str]()
    for start in range(0, len(leaving), 50):
        await leave(clarion, *leaving[start : start + 50])
        started |= await begun(clarion) & set(leaving[start : start + 50])
        clarion.providers["first"].open.set()
        await asyncio.sleep(0)
    told, spared = await tally(clarion, event)
    # Then only those were told whose message had been claimed before their opt-out was committed
    assert told & set(leaving) <= started
    assert len(spared) > 50
    # And nobody was claimed one by one: the statements are those of batches
    assert spared <= set(leaving)


Holding = Callable[[pytest.MonkeyPatch, asyncio.Event], None]


def held_in_rendering(patch: pytest.MonkeyPatch, opened: asyncio.Event) -> None:
    """All is rendered in a sandbox, and that takes until the event is set."""
    prepare, render = Renderer.prepare, Renderer.render

    async def sandboxed(self: Renderer, *of: Any, **_: Any) -> tuple[dict[bytes, Ready], list[Order]]:
        return await prepare(self, *of, sandboxed=True)

    async def slow(self: Renderer, order: Order) -> Ready:
        await opened.wait()
        return await render(self, order)

    patch.setattr(Renderer, "prepare", sandboxed)
    patch.setattr(Renderer, "render", slow)


def held_for_a_turn(patch: pytest.MonkeyPatch, opened: asyncio.Event) -> None:
    """The provider's rate gives turns when the event is set."""
    parts = Pace.parts

    async def late(self: Pace, provider: str, messages: Sequence[Message], now: int) -> list[tuple[int, list[Message]]]:
        await opened.wait()
        return [(at, [m]) for at, all_ in await parts(self, provider, messages, now) for m in all_]

    patch.setattr(Pace, "parts", late)


@pytest.mark.parametrize("held", [held_in_rendering, held_for_a_turn])
async def test_whoever_opts_out_while_a_claimed_message_waits_for_its_start_doesn_t_get_it(
    held: Holding, clarion: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given messages that are claimed, and not sent yet
    opened = asyncio.Event()
    held(monkeypatch, opened)
    people = [f"p{i}" for i in range(8)]
    await clarion.people(*people)
    await clarion.workflow("news", MAIL, preferences=FREELY)
    event = await clarion.event("news", recipients=people)

    async def claimed() -> bool:
        return await begun(clarion) == set(people)

    await clarion.until(claimed)
    # When some of the people switch mail off, and the start comes later
    await leave(clarion, *people[:3])
    await asyncio.sleep(FRESH / 1000)
    opened.set()
    # Then they get nothing, and the others do
    assert await tally(clarion, event) == (set(people[3:]), set(people[:3]))
    assert recipients(clarion.providers["first"].sent) == set(people[3:])


async def test_a_tenant_s_new_defaults_hold_for_what_waits(clarion: Installation) -> None:
    # Given a batch on its way for a customer, and another customer's
    event = await half_sent(clarion, tenant="acme")
    other = await clarion.event("news", recipients=["p001"], tenant="other")
    # When the first one switches mail off for its people
    put = PutTenants(
        project=PROJECT, now=clarion.clarion.clock.now(), tenants=(tenant_of("acme", {"preferences": OFF}),)
    )
    await clarion.clarion.bus.send(put)
    before = await begun(clarion)
    clarion.providers["first"].open.set()
    told, spared = await tally(clarion, event)
    # Then what hadn't left stays, and the other customer's goes out
    assert told <= before
    assert len(spared) > 50
    assert (await tally(clarion, other))[0] == {"p001"}
    # And putting the same again decides nothing again
    await clarion.clarion.bus.send(put)
    versions = await clarion.rows("SELECT policy_version FROM tenants")
    assert versions == [{"policy_version": 1}]
