"""A flood of one tenant holds up no other: neither where decisions are made nor at the provider."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from clarion.decisions.ahead import Ahead, Outlet, Share
from clarion.decisions.shards import take
from clarion.deliveries import line as lines
from clarion.deliveries.claim import Claims, claim
from clarion.deliveries.line import Line
from clarion.limits.turns import Turns
from clarion.model.shares import named, share_number, share_of
from clarion.model.words import Priority
from clarion.storage import Tx
from tests.composed import Installation, compose

FREELY = {"email": {"max_per_hour": 9_999, "max_per_day": 9_999}}
MAIL = {"channel": "email", "subject": "{{ event.data.n }}", "text": "for {{ recipient.id }}"}
NORMAL, LEASE = int(Priority.normal), bytes(16)


@pytest.fixture
async def installation(tmp_path: Path, environment: Mapping[str, str]) -> AsyncIterator[Installation]:
    """One whose engine doesn't run, with two workflows."""
    made = await compose(tmp_path, {**environment, "CLARION_DECISIONS__BATCH": "20"})
    await known(made)
    yield made
    await made.clarion.close()


async def known(installation: Installation) -> None:
    await installation.people("ada")
    for workflow in ("news", "notes"):
        await installation.workflow(workflow, MAIL, preferences=FREELY)


async def flood(installation: Installation, tenant: str, count: int, workflow: str = "news") -> None:
    """Events of a tenant."""
    for n in range(count):
        await installation.event(workflow, recipients=["ada"], data={"n": n}, tenant=tenant)


async def decide(installation: Installation) -> None:
    """Decides what there is, as far ahead as may be."""
    decider = installation.clarion.deciding.decider
    for _ in range(12):
        decider._ahead._looked_at = 0
        await decider.decide_due([2, 3])


async def claimed(installation: Installation, line: Line, room: int, later: int = 0) -> tuple[Counter[str], Claims]:
    """How many of each tenant's deliveries a claim takes, so many ms from now."""
    clarion = installation.clarion
    now = clarion.clock.now() + later
    claims = await clarion.db.write(lambda tx: claim(tx, "first", {NORMAL: room}, LEASE, now, clarion.limits, line))
    line.serve(claims.served)
    return Counter(c.tenant or "" for c in claims.taken), claims


async def crowded(installation: Installation, weights: Mapping[str, float] | None = None) -> Line:
    """The line at the provider, once a first claim has found that there is one."""
    line = Line(weights or {})
    assert (await claimed(installation, line, 1))[1].more
    return line


async def test_a_batch_has_a_part_for_everybody_who_waits(installation: Installation) -> None:
    db, now = installation.clarion.db, installation.clarion.clock.now
    await flood(installation, "loud", 200)
    await flood(installation, "quiet", 4)
    turns = {priority: Turns({"loud": 3.0}, named) for priority in (2, 3)}

    # When a batch for fifty is taken, the quiet tenant has all of its in it, and the rest is the loud one's
    first = await db.write(lambda tx: take(tx, [2, 3], now(), 50, turns))
    assert Counter(t.share.name.partition("\t")[0] for t in first.taken) == {"loud": 46, "quiet": 4}

    # And what is taken isn't taken again
    second = await db.write(lambda tx: take(tx, [2, 3], now(), 500, turns))
    assert len({t.ref for t in [*first.taken, *second.taken]}) == len(first.taken) + len(second.taken) == 204


@pytest.mark.parametrize("ahead, rates", [(30, {}), (4_000, {"first": 6.0})])
async def test_decisions_run_so_far_ahead_and_hold_up_nobody_who_has_less_waiting(
    installation: Installation, ahead: int, rates: Mapping[str, float]
) -> None:
    # Given a provider at which thirty may wait: so it is set, or so many it sends in five seconds
    installation.clarion.deciding.decider.share_fairly({}, ahead, rates)

    # When nothing is sent, and a tenant floods, and others come with a few messages, again and again
    await flood(installation, "loud", 100)
    await decide(installation)
    for _ in range(3):
        await flood(installation, "quiet", 2)
        await flood(installation, "loud", 1, "notes")
        await decide(installation)

    # Then the flood's decisions stopped at what may wait, give or take a batch, and all of the others' are made
    rows = await installation.rows("SELECT tenant, workflow FROM notifications")
    counts = Counter((row["tenant"], row["workflow"]) for row in rows)
    assert 30 <= counts.pop(("loud", "news")) <= 50
    assert counts == {("quiet", "news"): 6, ("loud", "notes"): 3}


async def test_urgent_work_is_never_held_back(installation: Installation) -> None:
    ahead = Ahead(0)
    await flood(installation, "loud", 2)
    await decide(installation)
    for priority in Priority:
        share = Share(int(priority), share_of("loud", "news"))
        ahead.decided([share], [Outlet("first", priority, share_number("loud", "news"))])
    now = installation.clarion.clock.now()
    paused = await ahead.paused(installation.clarion.db, now)
    assert {share.queue for share in paused} == {NORMAL}

    # And who asks while another one looks hears the same
    ahead._looked_at = 0
    db = installation.clarion.db
    assert set(await asyncio.gather(ahead.paused(db, now), ahead.paused(db, now))) == {paused}


async def test_as_long_as_there_is_room_for_all_nobody_has_to_take_turns(installation: Installation) -> None:
    # Given a line that has been, and is gone
    line = Line({})
    await flood(installation, "loud", 20)
    await decide(installation)
    for room in (10, 50):
        await claimed(installation, line, room)
    assert not line.is_crowded(NORMAL)

    # When two come, then there is room for both, and nothing more to come back for
    await flood(installation, "quiet", 1)
    await flood(installation, "loud", 1)
    await decide(installation)
    taken, claims = await claimed(installation, line, 50)
    assert taken == {"loud": 1, "quiet": 1}
    assert not claims.more


async def test_who_comes_to_a_provider_is_in_its_next_claim_whatever_waits_there(installation: Installation) -> None:
    # Given a provider at which a tenant has a pile, and a claim of it
    line = Line({})
    await flood(installation, "loud", 60)
    await decide(installation)
    assert (await claimed(installation, line, 4))[0] == {"loud": 4}

    # When another tenant comes, and the same one with another workflow
    await flood(installation, "quiet", 1)
    await flood(installation, "loud", 2, "notes")
    await decide(installation)

    # Then both are in the next claim, and the rest of it, and of those that follow, is the pile's
    taken, claims = await claimed(installation, line, 8)
    assert taken["quiet"] == 1
    assert {c.workflow for c in claims.taken} == {"news", "notes"}
    assert claims.more == {NORMAL}
    total = 4 + taken.total()
    while (found := (await claimed(installation, line, 16))[0]).total():
        total += found.total()
    assert total == 63


async def test_one_look_does_for_the_claims_of_a_moment_and_the_next_one_finds_who_came_between(
    installation: Installation,
) -> None:
    # Given a line, who is in it, and somebody who comes then
    await flood(installation, "loud", 60)
    await decide(installation)
    line = await crowded(installation)
    await claimed(installation, line, 4)
    await flood(installation, "quiet", 1)
    await decide(installation)

    # When claims follow at once, then they take of those who are known, and the next look finds the other
    assert (await claimed(installation, line, 4))[0] == {"loud": 4}
    assert (await claimed(installation, line, 4, later=lines.KNOWN + 60_000))[0] == {"loud": 2, "quiet": 1}


async def test_tenants_have_equal_turns_whatever_their_workflows_and_weights_make_them_unequal(
    installation: Installation,
) -> None:
    await flood(installation, "a", 40)
    await flood(installation, "a", 40, "notes")
    await flood(installation, "b", 40)
    await decide(installation)
    assert (await claimed(installation, await crowded(installation), 20))[0] == {"a": 10, "b": 10}
    assert (await claimed(installation, await crowded(installation, {"b": 3}), 20))[0] == {"a": 5, "b": 15}

    # And with room for one, each in its turn
    line, one_by_one = await crowded(installation), Counter[str]()
    for _ in range(12):
        one_by_one += (await claimed(installation, line, 1))[0]
    assert one_by_one == {"a": 6, "b": 6}


async def test_with_more_shares_than_a_look_finds_all_have_their_turn(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given more tenants than one look finds, some of which have nothing due yet
    monkeypatch.setattr(lines, "LOOK", 3)
    for n in range(10):
        await flood(installation, f"t{n}", 2)
    await decide(installation)
    later = [f"t{n}" for n in range(0, 10, 2)]

    async def put_off(tx: Tx) -> None:
        await tx.run(
            "UPDATE deliveries SET due_at = :later WHERE share IN :shares", later=2**45,
            shares=[share_number(tenant, "news") for tenant in later],
        )  # fmt: skip

    await installation.clarion.db.write(put_off)

    # When claims are made as long as one says that there is more
    line, taken, more = Line({}), Counter[str](), True
    while more:
        found, claims = await claimed(installation, line, 2)
        taken, more = taken + found, bool(claims.more)

    # Then everything that is due has been taken
    assert taken == {f"t{n}": 2 for n in range(1, 10, 2)}


async def test_of_more_shares_with_piles_than_a_look_finds_none_is_left_behind(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "LOOK", 4)
    for n in range(10):
        await flood(installation, f"t{n}", 12)
    await decide(installation)
    line, taken = await crowded(installation), Counter[str]()
    for _ in range(20):
        taken += (await claimed(installation, line, 2))[0]
    assert set(taken.values()) <= {3, 4, 5}
    assert len(taken) == 10
