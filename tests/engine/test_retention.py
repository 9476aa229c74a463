"""What is old goes, week by week, and nothing that somebody still waits for; statistics and counters stay right."""

from __future__ import annotations

from pathlib import Path

import pytest

from clarion.clock import DAY, SystemClock
from clarion.engine.retention import Dropped, Retention, kinds
from clarion.inbox.feed import counts
from clarion.storage import Database, Tx, partitions
from clarion.storage.partitions import WEEK, week_of
from clarion.storage.tables import PARTITIONED
from tests.clocks import AheadClock
from tests.composed import PROJECT, Installation, working

MAIL = {"channel": "email", "subject": "a", "text": "b"}
INBOX = {"channel": "in_app", "title": "a", "body": "b"}


def retention(clarion: Installation, moved: int) -> Retention:
    c = clarion.clarion
    return Retention(c.db, AheadClock(moved), c.projections, kinds(events=7, notifications=14, facts=14, outbox=7))


async def sizes(clarion: Installation) -> dict[str, int]:
    (row,) = await clarion.rows("SELECT " + ", ".join(f"(SELECT count(*) FROM {t}) AS {t}" for t in PARTITIONED))
    return row


async def stats(clarion: Installation) -> list[dict[str, object]]:
    return await clarion.rows("SELECT * FROM daily_stats ORDER BY workflow, channel, provider, state, reason")


async def test_while_the_clock_is_in_doubt_nothing_goes_by_itself(tmp_path: Path, migrated_url: str) -> None:
    async with working(tmp_path, {"CLARION_DATABASE_URL": migrated_url}) as clarion:
        # Given mails that were sent, and a clock that has leapt by a year
        await clarion.people("ada")
        await clarion.workflow("note", MAIL)
        await clarion.settled(await clarion.event("note", recipients=["ada"]))
        await clarion.until(lambda: applied(clarion))
        before, late = await sizes(clarion), retention(clarion, 365 * DAY)
        late._settled = lambda: False
        # When its time comes again and again
        await late.round()
        # Then nothing goes, until the clock can be relied on
        assert await sizes(clarion) == before
        late._settled = lambda: True
        await late.round()
        assert (await sizes(clarion))["notifications"] == 0


async def test_the_old_goes_the_live_stays_and_figures_stay_right(tmp_path: Path, migrated_url: str) -> None:
    async with working(tmp_path, {"CLARION_DATABASE_URL": migrated_url}) as clarion:
        # Given inbox items and mails that were sent, and a mail that waits for a month
        await clarion.people("ada", "bob")
        await clarion.workflow("note", INBOX, MAIL)
        await clarion.workflow("patient", {"wait": "30d"}, MAIL)
        await clarion.settled(await clarion.event("note", recipients=["ada", "bob"]))
        await clarion.settled(await clarion.event("patient", recipients=["ada"]))
        await clarion.until(lambda: applied(clarion))
        before, counted = await sizes(clarion), await stats(clarion)
        week = week_of(clarion.clarion.clock.now())
        assert min(before.values()) >= 2

        # When retention runs four weeks later
        late = retention(clarion, 28 * DAY)
        expected = [Dropped("events", week, True), Dropped("notifications", week, True), Dropped("facts", week, False)]
        said = await late.run(dry=True)
        assert [d for d in said if d.week == week and d.kind != "history"] == expected
        assert await sizes(clarion) == before, "a dry run drops nothing"
        await late.run()

        # Then the facts have gone, and nothing of the week in which a mail waits
        assert await sizes(clarion) == {**before, "facts_operational": 0}

        # And once nothing waits, the rest goes too, out of the inboxes as well
        await clarion.clarion.db.write(
            lambda tx: tx.run("UPDATE deliveries SET state = 'sent' WHERE state = 'deferred'")
        )
        await late.run()
        assert await sizes(clarion) == dict.fromkeys(before, 0)
        now = clarion.clarion.clock.now()
        assert await clarion.clarion.db.read(lambda tx: counts(tx, PROJECT, "ada", now)) == (0, 0, 0)

        # And the statistics stay, also when they are built anew
        assert await stats(clarion) == counted
        await clarion.clarion.projections.rebuild("daily_stats")
        assert await stats(clarion) == counted

        # And what comes next is counted beside them
        await clarion.settled(await clarion.event("note", recipients=["bob"]))
        assert (await sizes(clarion))["notifications"] == 1


async def test_facts_that_a_projection_has_not_applied_stay(tmp_path: Path, migrated_url: str) -> None:
    async with working(tmp_path, {"CLARION_DATABASE_URL": migrated_url}) as clarion:
        # Given facts, and a projection that stands at the beginning
        await clarion.workflow("note", INBOX)
        await clarion.settled(await clarion.event("note", recipients=["ada"]))
        await clarion.until(lambda: applied(clarion))
        await clarion.clarion.engine.stop()  # type: ignore[union-attr]
        await clarion.clarion.db.write(
            lambda tx: tx.run("UPDATE checkpoints SET xid = 0, position = 0 WHERE projector = 'daily_stats'")
        )

        # When retention runs, they stay
        facts = (await sizes(clarion))["facts_operational"]
        await retention(clarion, 60 * DAY).run()
        assert (await sizes(clarion))["facts_operational"] == facts > 0


async def applied(clarion: Installation) -> bool:
    return not any((await clarion.clarion.projections.ages()).values())


@pytest.mark.parametrize("migrated_url", ["postgres"], indirect=True)
async def test_a_week_without_a_partition_refuses_nothing(database: Database) -> None:
    now = SystemClock().now() + 20 * WEEK

    async def insert(tx: Tx) -> None:
        event = partitions.bound("id", now)
        await tx.run(
            "INSERT INTO events (project, id, type, data, audience, workflows, accepted_at) "
            "VALUES (1, :event, 't', :event, 'list', '[]', :now)",
            event=event, now=now,
        )  # fmt: skip

    # Given an event of a week that nobody has made
    await database.write(insert)

    # When partitions are made from that week on
    made = await database.write(lambda tx: partitions.make_ahead(tx, now))

    # Then every other week gets one, and that of the event stays as it is
    weeks = range(week_of(now), week_of(now) + 5 * WEEK, WEEK)
    wanted = {partitions.name_of(t, w) for t in PARTITIONED for w in weeks}
    assert set(made) == wanted - {partitions.name_of("events", week_of(now))}
    assert await database.write(lambda tx: partitions.make_ahead(tx, now)) == []
