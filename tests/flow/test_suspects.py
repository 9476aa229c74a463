"""Deliveries that end whoever carries them, or that can't even be tried: no attempt is counted that wasn't one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from clarion.clock import NEVER, randomness
from clarion.decisions import parking
from clarion.deliveries import suspects
from clarion.deliveries.claim import Claimed
from clarion.deliveries.rendering import Order, Ready, Renderer
from clarion.model import ids
from clarion.model.jobs import DELIVER, TRIES
from tests.composed import PROJECT, Installation, compose, outcomes

MAIL = {"channel": "email", "subject": "{{ event.data.n }}", "text": "x"}


@pytest.fixture
async def still(tmp_path: Path, environment: Mapping[str, str]) -> AsyncIterator[Installation]:
    """An installation that doesn't work yet."""
    installation = await compose(tmp_path, environment)
    yield installation
    await installation.clarion.close()


async def decided(still: Installation, **more: Any) -> tuple[bytes, bytes]:
    """An event to ada, and its delivery, which waits to be sent."""
    await still.people("ada")
    await still.workflow("note", MAIL, **more)
    event = await still.event("note", recipients=["ada"], data={"n": 1})
    while not (found := await still.notifications(event)):
        await still.clarion.deciding.decider.decide_due(range(4))
    return event, ids.read(ids.DELIVERY, found[0]["deliveries"][0]["id"])


async def dies(still: Installation, delivery: bytes) -> None:
    """The worker that carries a delivery has ended, and this one finds out."""
    lease = randomness(16)
    text = "UPDATE deliveries SET state = 'sending', lease = :lease WHERE id = :id"
    await still.clarion.db.write(lambda tx: tx.run(text, lease=lease, id=delivery))
    await still.clarion._layers().outcomes.abandon(lease)


async def tries(still: Installation) -> list[int]:
    return [row["tries"] for row in await still.rows("SELECT tries FROM parked WHERE job = :job", job=DELIVER)]


async def row(still: Installation, delivery: bytes) -> dict[str, Any]:
    (found,) = await still.rows("SELECT * FROM deliveries WHERE id = :id", id=delivery)
    return found


async def test_the_end_of_a_worker_uses_up_no_retry_and_five_of_them_park_the_delivery(still: Installation) -> None:
    event, delivery = await decided(still)
    clock = still.clarion.clock

    # When five workers end while they send it, each as far as anybody knows in the middle of that
    for count in range(1, TRIES + 1):
        if count > suspects.ALONE:
            await still.clarion.db.write(partial(suspects.mark, key=(PROJECT, delivery), now=clock.now()))
        await dies(still, delivery)
        assert await tries(still) == [count]

    # Then it waits for a person, under suspicion of having arrived, and no retry was used up
    after = await row(still, delivery)
    assert (after["state"], after["due_at"], bool(after["possible_duplicate"])) == ("pending", NEVER, True)
    assert (after["attempts"], after["provider_attempts"]) == (TRIES, 0)
    (parked,) = await still.clarion.db.read(lambda tx: parking.parked(tx, PROJECT, 10))
    assert (parked.task.job, parked.recipient, parked.workflow, parked.event_id) == (DELIVER, "ada", "note", event)
    assert parked.notification_id is not None

    # When it is let go on, it goes alone, arrives, and nothing is left of the suspicion
    assert await still.clarion.db.write(lambda tx: parking.release(tx, PROJECT, clock.now())) == 1
    await still.clarion.work()
    assert outcomes(await still.settled(event)) == {"ada": ("sent", None)}
    await still.until(lambda: nothing_suspected(still))


async def nothing_suspected(clarion: Installation) -> bool:
    return not await clarion.rows("SELECT 1 FROM parked")


async def test_what_stood_in_line_behind_a_suspect_had_not_left(still: Installation) -> None:
    # Given a suspect that has to go alone, and whose turn hasn't come
    event, delivery = await decided(still)
    for _ in range(suspects.ALONE):
        await dies(still, delivery)
    attempts = (await row(still, delivery))["attempts"]

    # When its worker ends
    await dies(still, delivery)

    # Then that was no attempt, and no try
    assert await tries(still) == [suspects.ALONE]
    assert (await row(still, delivery))["attempts"] == attempts
    await still.clarion.work()
    assert outcomes(await still.settled(event)) == {"ada": ("sent", None)}


async def test_hold_stays_hold(still: Installation) -> None:
    event, delivery = await decided(still, on_unknown="hold")
    await dies(still, delivery)
    assert outcomes(await still.notifications(event)) == {"ada": ("unknown", "unknown_outcome")}


async def test_what_cant_even_be_tried_is_no_attempt_and_parked_and_holds_up_no_other(
    clarion: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    await clarion.people("ada", "bob")
    await clarion.workflow("note", MAIL)
    monkeypatch.setattr(suspects, "AGAIN", 0)
    one = Renderer._one

    def breaks(self: Renderer, c: Claimed, *more: Any, **named: Any) -> Ready | Order:
        if c.recipient == "ada":
            raise RuntimeError("a fault of ours")
        return one(self, c, *more, **named)

    # Given a fault that shows with one person's messages, before anything is sent
    with monkeypatch.context() as fault:
        fault.setattr(Renderer, "_one", breaks)
        broken = await clarion.event("note", recipients=["ada"], data={"n": 1})

        async def parked() -> list[parking.Parked]:
            return await clarion.clarion.db.read(lambda tx: parking.parked(tx, PROJECT, 10))

        # Then it is parked after five tries, of which none is an attempt
        await clarion.until(parked)
        (found,) = await clarion.notifications(broken)
        assert found["deliveries"][0]["attempts"] == []
        assert [(p.error, p.recipient) for p in await parked()] == [("RuntimeError", "ada")]

        # And another's is sent
        fine = await clarion.event("note", recipients=["bob"], data={"n": 2})
        assert outcomes(await clarion.settled(fine)) == {"bob": ("sent", None)}

    # When the fault is mended and it is let go on, it arrives
    now = clarion.clarion.clock.now()
    await clarion.clarion.db.write(lambda tx: parking.release(tx, PROJECT, now))
    assert outcomes(await clarion.settled(broken)) == {"ada": ("sent", None)}


async def test_slow_texts_are_sent_one_after_another_and_a_hopeless_one_fails_with_its_place(
    clarion: Installation,
) -> None:
    people = [f"p{n}" for n in range(25)]
    await clarion.people(*people)
    slow = "{% for i in (1..9000) %}{{ i | plus: 1 }}{% endfor %}"
    await clarion.workflow("slow", {**MAIL, "html": slow})
    words = "{% for i in (1..9000) %}{% assign w = event.data.text | split: ' ' | sort %}{% endfor %}"
    await clarion.workflow("hopeless", {**MAIL, "html": words})

    hopeless = await clarion.event("hopeless", recipients=["p1"], data={"n": 1, "text": "a b " * 30_000})
    event = await clarion.event("slow", recipients=people, data={"n": 1})

    found = await clarion.settled(event)
    assert outcomes(found) == dict.fromkeys(people, ("sent", None))
    assert {len(n["deliveries"][0]["attempts"]) for n in found} == {1}
    (failed_,) = await clarion.settled(hopeless)
    assert outcomes([failed_]) == {"p1": ("failed", "payload_invalid")}
