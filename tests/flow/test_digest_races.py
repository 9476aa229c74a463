"""Real processes racing for the same digests on PostgreSQL, killed at any moment."""

from __future__ import annotations

import asyncio
import random
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from pathlib import Path
from typing import Any

from clarion.model.ids import is_digest
from tests.composed import Installation, compose

PEOPLE = ("ada", "bob", "cyd")
EVENTS = 150
FREELY = {"email": {"max_per_hour": 10_000, "max_per_day": 10_000}}
MAIL = {"channel": "email", "subject": "{{ digest.count }}", "text": "x"}
MODES: dict[str, dict[str, Any]] = {
    "fixed": {"mode": "fixed", "window": "1s"},
    "lookback": {"mode": "lookback", "window": "1s"},
    "sliding": {"mode": "sliding", "window": "1s", "max_window": "2s"},
}


async def start(folder: Path, url: str) -> Process:
    command = (sys.executable, "-m", "tests.flow.deciding_worker", str(folder), url)
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    return process


async def test_every_item_is_in_exactly_one_digest_whoever_races_and_whoever_dies(
    tmp_path: Path, migrated_postgres_url: str
) -> None:
    clarion = await compose(tmp_path, {"CLARION_DATABASE_URL": migrated_postgres_url})
    await clarion.people(*PEOPLE)
    for key, digest in MODES.items():
        await clarion.workflow(key, MAIL, digest=digest, preferences=FREELY)
    workers = list(await asyncio.gather(*(start(tmp_path, migrated_postgres_url) for _ in range(3))))
    try:
        # Given events that come while workers are killed and started again
        telling = asyncio.create_task(tell(clarion))
        lots = random.Random(7)
        while not telling.done():
            victim = lots.randrange(len(workers))
            workers[victim].kill()
            await workers[victim].wait()
            workers[victim] = await start(tmp_path, migrated_postgres_url)
        await telling
        # When all is decided and every digest has closed
        await clarion.until(lambda: settled(clarion))
        await check(clarion)
    finally:
        for worker in workers:
            worker.kill()
            await worker.wait()
        await clarion.clarion.close()


async def tell(clarion: Installation) -> None:
    for n in range(EVENTS):
        await clarion.event(list(MODES)[n % 3], recipients=list(PEOPLE))
        await asyncio.sleep(0.02)


async def settled(clarion: Installation) -> bool:
    return not await clarion.rows(
        "SELECT 1 FROM shards WHERE NOT done UNION ALL SELECT 1 FROM deliveries WHERE state = 'deferred' "
        "UNION ALL SELECT 1 FROM digest_buckets WHERE closed_at IS NULL"
    )


async def check(clarion: Installation) -> None:
    rows = await clarion.rows(
        "SELECT n.id, n.recipient, n.workflow, d.state, d.bucket_id FROM deliveries d "
        "JOIN notifications n ON n.project = d.project AND n.id = d.notification_id"
    )
    items = [row for row in rows if not is_digest(bytes(row["id"]))]
    # Then every event was decided once for everybody
    assert Counter(row["recipient"] for row in items) == dict.fromkeys(PEOPLE, EVENTS)
    # and what was gathered is in a closed digest, whose count is that of its items
    gathered = [row for row in items if row["workflow"] != "lookback" or row["bucket_id"] is not None]
    assert {row["state"] for row in gathered} == {"digested"}
    assert {row["state"] for row in items if row["bucket_id"] is None} == {"pending"}
    members = Counter(bytes(row["bucket_id"]) for row in gathered)
    buckets = await clarion.rows("SELECT id, items, notification_id FROM digest_buckets")
    assert members == {bytes(b["id"]): b["items"] for b in buckets}
    # and every digest is one message
    digests = Counter(bytes(row["id"]) for row in rows if is_digest(bytes(row["id"])))
    assert digests == dict.fromkeys((bytes(b["notification_id"]) for b in buckets), 1)
    assert len(gathered) > len(digests) > len(PEOPLE)
