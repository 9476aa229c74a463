"""Several real processes decide at once: a cap of ten is ten, and of the same thing one is told."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
import redis

from tests.composed import Installation, compose

ROOT = Path(__file__).parents[2]
MAIL = {"channel": "email", "subject": "{{ event.data.n }}", "text": "for {{ recipient.id }}"}
ROOMY = {"email": {"max_per_hour": 1_000, "max_per_day": 1_000}}
PROCESSES = 3


async def started(folder: Path, environment: Mapping[str, str]) -> Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.flow.deciding", str(folder), stdin=PIPE, stdout=PIPE, cwd=ROOT,
        env={**os.environ, **environment},
    )  # fmt: skip
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    return process


async def decided_by(processes: list[Process]) -> list[int]:
    """Has all of them begin at once; gives how much each one decided."""
    answers = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    return [int(out) for out, _ in answers]


async def verdicts(clarion: Installation) -> dict[str, Counter[tuple[str, str | None]]]:
    """By workflow: how many deliveries are in which state, for which reason."""
    rows = await clarion.rows(
        "SELECT n.workflow, d.state, d.reason FROM deliveries d "
        "JOIN notifications n ON n.project = d.project AND n.id = d.notification_id"
    )
    found: dict[str, Counter[tuple[str, str | None]]] = {}
    for row in rows:
        found.setdefault(row["workflow"], Counter())[row["state"], row["reason"]] += 1
    return found


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_processes_that_race_leave_caps_exact_and_duplicates_out(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    # Given forty alerts to one person who may have ten, and twelve reports of each of two things to three people
    environment = {**environment, "CLARION_DECISIONS__BATCH": "1"}  # they take turns at every event
    clarion = await compose(tmp_path, environment)
    people = ["ada", "bob", "cleo"]
    await clarion.people(*people)
    await clarion.workflow("alert", MAIL, preferences={"email": {"max_per_hour": 10, "max_per_day": 20}})
    dedupe = {"key": "{{ event.data.n }}", "window": "1h"}
    await clarion.workflow("report", MAIL, preferences=ROOMY, dedupe=dedupe)
    for n in range(24):
        await clarion.event("report", recipients=people, data={"n": n % 2})
    for n in range(40):
        await clarion.event("alert", recipients=["ada"], data={"n": n})

    # When three processes decide them at once
    processes = await asyncio.gather(*(started(tmp_path, environment) for _ in range(PROCESSES)))
    shares = await decided_by(list(processes))

    # Then
    assert sum(shares) >= 64
    found = await verdicts(clarion)
    assert found["alert"] == {("pending", None): 10, ("suppressed", "cap_hour"): 30}
    assert found["report"] == {("pending", None): 6, ("suppressed", "duplicate"): 66}

    # And when Redis forgets everything, there is still no room
    if "CLARION_REDIS_URL" in environment:
        with redis.Redis.from_url(environment["CLARION_REDIS_URL"]) as server:
            server.flushall()
        for n in range(5):
            await clarion.event("alert", recipients=["ada"], data={"n": n})
        while await clarion.clarion.deciding.decider.decide_due(range(4)):
            pass
        assert (await verdicts(clarion))["alert"] == {("pending", None): 10, ("suppressed", "cap_hour"): 35}
    await clarion.clarion.close()
