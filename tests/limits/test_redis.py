from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import redis.asyncio as raw

from clarion.clock import DAY, HOUR, MINUTE, SECOND
from clarion.limits.redis import RedisLimits
from clarion.model.decision import Counter, SlotRequest
from clarion.model.errors import Unavailable
from clarion.model.ids import Id
from clarion.storage import Database, Tx, open_database
from clarion.testing.limits import NOW, LimitsContract, Worker, cap, owner, someone
from clarion.testing.limits_shared import SharedContract
from tests.limits.redis_workers import Truth, eight_workers, is_back
from tests.servers import Valkey


async def _counter_keys(server: raw.Redis) -> list[bytes]:
    return [key async for key in server.scan_iter(match="clarion:c:*", count=1000)]


class TestRedisLimits(LimitsContract, SharedContract):
    """The contract asks nothing of the database: SQLite will do."""

    @pytest.fixture
    async def workers(self, redis_url: str, migrated_sqlite_url: str, truth: Truth) -> AsyncIterator[Sequence[Worker]]:
        async with eight_workers(redis_url, migrated_sqlite_url, truth) as made:
            yield made


async def test_a_batch_is_one_script_call(workers: Sequence[Worker], monkeypatch: pytest.MonkeyPatch) -> None:
    store = workers[0].store
    assert isinstance(store, RedisLimits)
    people = [cap(someone(), 5, 20) for _ in range(1_000)]
    await workers[0].reserve([SlotRequest(owner("warm up"), (people[0],))])
    commands, execute = [], store._client.execute_command

    def counted(*words: object, **options: object) -> object:
        commands.append(words[0])
        return execute(*words, **options)  # type: ignore[no-untyped-call]

    monkeypatch.setattr(store._client, "execute_command", counted)
    # When
    await workers[0].reserve([SlotRequest(owner(c), (c,)) for c in people])
    # Then
    assert commands == ["EVALSHA"]


async def test_a_recipient_and_channel_take_two_hundred_bytes_at_most(
    workers: Sequence[Worker], server: raw.Redis
) -> None:
    wanted, now = cap("a-recipient-with-rather-a-long-id@example.com", 5, 20), NOW
    for turn in range(100):
        now += 17 * MINUTE
        await workers[0].reserve([SlotRequest(owner(turn), (wanted,))], now)
    # Then
    [key] = await _counter_keys(server)
    length = await server.strlen(key)
    assert length == 20 * 8
    assert len(key) + length <= 200
    # And it goes with the day
    assert 86_400 <= await server.ttl(key) <= 86_460


async def test_turns_are_paced_by_the_server_s_clock_for_workers_whose_clocks_differ(workers: Sequence[Worker]) -> None:
    bucket, ahead = someone(), 30 * SECOND
    for worker in workers:
        assert isinstance(worker.store, RedisLimits)
        worker.store.callers_clock = False
    # When
    mine = await workers[0].store.take(bucket, 10, 10, 1, NOW)
    its = await workers[1].store.take(bucket, 1, 10, 1, NOW + ahead)
    # Then: the second waits for the first's ten turns, on its own clock (the call itself took less than half a second)
    assert mine == [NOW + n * 100 for n in range(10)]
    assert ahead + 500 < its[0] - NOW <= ahead + 1000


# --- what Redis forgets -----------------------------------------------------------------------------------------------


async def _notification(tx: Tx) -> None:
    await tx.run(
        "INSERT INTO notifications (project, id, event_id, workflow, version, recipient, created_at)"
        " VALUES (1, :id, :id, 'w', 1, 'u', 0)",
        id=bytes(16),
    )


async def test_a_new_installation_loads_nothing(workers: Sequence[Worker], truth: Truth) -> None:
    await workers[0].reserve([SlotRequest(owner(1), (cap(someone(), 5, 20),))])
    assert truth.asked == []


async def test_a_database_that_has_sent_before_is_asked_what_a_new_redis_cannot_know(
    workers: Sequence[Worker], truth: Truth
) -> None:
    wanted = cap(someone(), 1, 1)
    await workers[0].database.write(_notification)
    truth.note(SlotRequest(owner("before"), (wanted,)), NOW - MINUTE)
    request = SlotRequest(owner("next"), (wanted,))
    assert not (await workers[0].reserve([request]))[request.owner].granted


async def test_after_a_flush_the_caps_are_as_exact_as_before(
    workers: Sequence[Worker], truth: Truth, server: raw.Redis
) -> None:
    wanted, other = cap(someone(), 3, 4), cap(someone(), 1, 1)
    sent = [SlotRequest(owner(wanted, n), (wanted,)) for n in range(2)]
    for n, request in enumerate(sent):
        assert (await workers[n].reserve([request], NOW + n * MINUTE))[request.owner].granted
        truth.note(request, NOW + n * MINUTE)
    # When
    await server.flushdb()
    # Then every worker goes on with what SQL knows, and it is loaded once
    later = [SlotRequest(owner(wanted, n), (wanted,)) for n in range(2, 6)]
    answers = [(await workers[n].reserve([r], NOW + 2 * MINUTE))[r.owner] for n, r in enumerate(later)]
    assert [grant.granted for grant in answers] == [True, False, False, False]
    assert answers[1].free_at == NOW + HOUR
    assert truth.asked == [[wanted.counter]]
    # And who asks again still holds its slot
    assert (await workers[5].reserve([sent[0]], NOW + 3 * MINUTE))[sent[0].owner].granted
    # And counters without sends are loaded once too
    for n in range(2):
        await workers[n].peek([SlotRequest(owner(other), (other,))])
    assert truth.asked == [[wanted.counter], [other.counter]]


async def test_who_loads_late_does_not_undo_what_was_reserved_since(
    workers: Sequence[Worker], truth: Truth, server: raw.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = cap(someone(), 1, 1)
    slow, quick = (SlotRequest(owner(wanted, name), (wanted,)) for name in ("slow", "quick"))
    await workers[0].reserve([SlotRequest(owner("any"), (cap(someone(), 1),))])
    await server.flushdb()
    await workers[1].peek([SlotRequest(owner("any"), (cap(someone(), 1),))])  # begins the epoch
    loading, go = asyncio.Event(), asyncio.Event()

    async def slowly(counters: list[Counter]) -> dict[Counter, list[tuple[int, Id]]]:
        loading.set()
        await go.wait()
        return {}

    # Given: one has read from SQL that there was nothing, and another reserves meanwhile
    monkeypatch.setattr(workers[0].store, "_load_cold", slowly)
    deciding = asyncio.create_task(workers[0].reserve([slow]))
    await loading.wait()
    assert (await workers[1].reserve([quick]))[quick.owner].granted
    # When
    go.set()
    # Then
    assert not (await deciding)[slow.owner].granted


async def test_all_workers_racing_after_a_flush_stay_within_the_cap(
    workers: Sequence[Worker], truth: Truth, server: raw.Redis
) -> None:
    wanted = cap(someone(), 10, 10)
    before = [SlotRequest(owner(wanted, n), (wanted,)) for n in range(4)]
    await workers[0].reserve(before)
    for request in before:
        truth.note(request, NOW)
    await server.flushdb()

    async def race(number: int) -> int:
        """Decides as the driver does: what lost its standing is decided again."""
        request = SlotRequest(owner(wanted, "race", number), (wanted,))
        worker = workers[number]
        while True:
            grants = await worker.reserve([request])

            async def record(tx: Tx, grants: object = grants) -> bool:
                return await worker.store.standing(tx, grants)  # type: ignore[arg-type]

            if await worker.database.write(record):
                return grants[request.owner].granted

    # Then
    assert sum(await asyncio.gather(*map(race, range(8)))) == 6


async def test_slots_granted_before_a_flush_and_not_yet_recorded_have_lost_their_standing(
    workers: Sequence[Worker], server: raw.Redis
) -> None:
    slow, quick = workers[0], workers[1]
    wanted = cap(someone(), 1, 1)
    grants = await slow.reserve([SlotRequest(owner("slow"), (wanted,))])
    # Given: Redis forgets, and another worker, who can't know of it, gets the slot
    await server.flushdb()
    taken = await quick.reserve([SlotRequest(owner("quick"), (wanted,))])
    assert taken[owner("quick")].granted

    # Then the slow one is told in its transaction, and decides again
    async def record(tx: Tx) -> tuple[bool, bool]:
        return await slow.store.standing(tx, grants), await quick.store.standing(tx, taken)

    assert await slow.database.write(record) == (False, True)
    again = await slow.reserve([SlotRequest(owner("slow"), (wanted,))])
    assert not again[owner("slow")].granted


async def test_an_epoch_does_not_end_while_a_transaction_relies_on_it(
    redis_url: str, migrated_postgres_url: str, truth: Truth, server: raw.Redis
) -> None:
    async with eight_workers(redis_url, migrated_postgres_url, truth) as (slow, quick, *_):
        wanted = cap(someone(), 1, 1)
        mine = SlotRequest(owner("slow"), (wanted,))
        grants = await slow.reserve([mine])
        relied, waited_for = asyncio.Event(), asyncio.Event()

        async def record(tx: Tx) -> bool:
            stands = await slow.store.standing(tx, grants)
            relied.set()
            await waited_for.wait()
            truth.note(mine, NOW)  # with the commit that follows
            return stands

        recording = asyncio.create_task(slow.database.write(record))
        await relied.wait()
        await server.flushdb()
        # When
        deciding = asyncio.create_task(quick.reserve([SlotRequest(owner("quick"), (wanted,))]))
        while not await quick.database.read(_somebody_waits):  # noqa: ASYNC110  # the database rings no bell
            await asyncio.sleep(0)
        waited_for.set()
        # Then
        assert await recording
        assert not (await deciding)[owner("quick")].granted


async def _somebody_waits(tx: Tx) -> bool:
    return await tx.first("SELECT 1 FROM pg_locks WHERE NOT granted") is not None


async def test_a_worker_that_died_between_database_and_marker_stops_nobody(workers: Sequence[Worker]) -> None:
    wanted = cap(someone(), 5, 5)
    worker = workers[0]
    assert isinstance(worker.store, RedisLimits)
    grants = await worker.reserve([SlotRequest(owner(1), (wanted,))])
    # Given: the number was raised in the database, and Redis doesn't know
    present = await worker.store._epochs.present()
    assert await worker.store._epochs.begin(present, 0) is not None

    # When
    async def standing(tx: Tx) -> bool:
        return await worker.store.standing(tx, grants)

    assert not await worker.database.write(standing)
    # Then
    grants = await worker.reserve([SlotRequest(owner(1), (wanted,))])
    assert await worker.database.write(standing)


async def test_a_database_restored_from_a_backup_finds_a_later_epoch_and_goes_past_it(
    workers: Sequence[Worker], server: raw.Redis
) -> None:
    wanted = cap(someone(), 5, 5)
    await workers[0].reserve([SlotRequest(owner(1), (wanted,))])
    [marker] = [key async for key in server.scan_iter(match="clarion:*:epoch")]
    number, rest = bytes(await server.get(marker) or b"").split(b":", 1)  # type: ignore[arg-type]
    await server.set(marker, b"%d:%s" % (int(number) + 7, rest))
    # Then
    for worker in workers:
        grants = await worker.reserve([SlotRequest(owner(1), (wanted,))])
        assert grants.epoch == int(number) + 8


async def test_a_restart_from_an_old_snapshot_is_noticed(database: Database, truth: Truth, tmp_path: Path) -> None:
    redis = Valkey(tmp_path / "valkey")
    redis.start()
    store = await RedisLimits.connect(redis.url, database, truth.load)
    worker, wanted = Worker(store, database), cap(someone(), 2, 2)
    one, two, three = (SlotRequest(owner(n), (wanted,)) for n in range(3))
    await worker.reserve([one])
    truth.note(one, NOW)
    async with raw.Redis.from_url(redis.url) as server:
        kept = {key: await server.dump(key) async for key in server.scan_iter()}
    await worker.reserve([two])
    truth.note(two, NOW)
    # When: the server dies, and comes back with what it had before the second
    redis.kill()
    with pytest.raises(Unavailable, match="Redis"):
        await worker.reserve([three])
    redis.start()
    async with raw.Redis.from_url(redis.url) as server:
        for key, value in kept.items():
            await server.restore(key, 0, value or b"", replace=True)
    await is_back(store)
    # Then
    assert not (await worker.reserve([three], NOW + MINUTE))[three.owner].granted
    await store.close()
    redis.kill()


async def test_a_day_after_a_flush_absent_counters_are_known_to_be_empty(
    workers: Sequence[Worker], truth: Truth, server: raw.Redis
) -> None:
    await workers[0].reserve([SlotRequest(owner(1), (cap(someone(), 5),))])
    await server.flushdb()
    await workers[0].reserve([SlotRequest(owner(1), (cap(someone(), 5),))])
    asked = len(truth.asked)
    # When
    await workers[0].reserve([SlotRequest(owner(2), (cap(someone(), 5),))], NOW + DAY + 2 * MINUTE)
    # Then
    assert len(truth.asked) == asked


async def test_releasing_after_a_flush_has_nothing_to_release(workers: Sequence[Worker], server: raw.Redis) -> None:
    request = SlotRequest(owner(1), (cap(someone(), 1),))
    await workers[0].reserve([request])
    await server.flushdb()
    await workers[0].release([request])
    assert (await workers[1].reserve([request]))[request.owner].granted
    await workers[0].release([request])
    assert await workers[1].reserve([SlotRequest(owner(2), request.caps)]) == {owner(2): (True, None, None, "")}


async def test_installations_that_share_a_redis_do_not_see_each_other(
    redis_url: str, migrated_sqlite_url: str, migrated_postgres_url: str, truth: Truth
) -> None:
    wanted = cap("the same person", 1, 1)
    for url in (migrated_sqlite_url, migrated_postgres_url):
        database = await open_database(url)
        store = await RedisLimits.connect(redis_url, database, truth.load)
        grants = await store.reserve([SlotRequest(owner(url), (wanted,))], NOW)
        assert grants[owner(url)].granted
        await store.close()
        await database.close()
