"""The benchmark's own tools count right: what the load generator sent is what the stub answered."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks import run
from benchmarks.environment import ROOT, Stub, get, post
from benchmarks.row import Row
from tests.servers import RunFolder


@contextmanager
def running_stub() -> Iterator[Stub]:
    """The stub, and its files, for one test."""
    run = RunFolder()
    stub = Stub(run.path)
    yield stub
    stub.stop()
    run.remove()


@pytest.fixture
def stub() -> Iterator[Stub]:
    with running_stub() as made:
        yield made


async def load(url: str) -> dict[str, float]:
    """What the load generator reports after a second and a bit."""
    words = ["-m", "benchmarks.load", url, "--clients=4", "--seconds=0.3", '--body={"n": {n}}']
    process = await asyncio.create_subprocess_exec(sys.executable, *words, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    report: dict[str, float] = json.loads(out)
    return report


async def test_the_load_generator_reports_no_more_than_the_stub_answered(stub: Stub) -> None:
    report = await load(f"{stub.url}/hook")
    answered, _ = stub.answered()
    assert report["errors"] == 0
    assert 0 < report["requests"] < answered, "the warm-up isn't counted"


async def test_the_load_generator_counts_what_no_one_answers_as_errors() -> None:
    with running_stub() as stub:
        gone = stub.url
    report = await load(f"{gone}/hook")
    assert report["requests"] == 0
    assert report["errors"] > 0


def test_the_stub_answers_as_fcm_does_and_forgets_on_reset(stub: Stub) -> None:
    assert post(f"{stub.url}/v1/projects/p/messages:send", {}) == {"name": "projects/stub/messages/1"}
    assert post(f"{stub.url}/hook", {}) == {}
    assert stub.answered()[0] == 2
    stub.reset(latency_ms=5)
    assert get(f"{stub.url}/count")["count"] == 0


def test_the_stub_takes_as_long_as_it_is_told(stub: Stub) -> None:
    stub.reset(latency_ms=50)
    began = time.monotonic()
    post(f"{stub.url}/hook", {})
    assert stub.answered()[1] - began >= 0.05


def test_a_bar_on_the_ratio_holds_from_that_ratio_on() -> None:
    assert Row(name="r", unit="events/s", value=80, naive=10, bar=8).meets is True
    assert Row(name="r", unit="events/s", value=79, naive=10, bar=8).meets is False
    assert Row(name="r", unit="s", value=2, naive=16, bar=8, better="lower").ratio == 8


def test_a_bar_on_the_value_holds_up_to_that_value() -> None:
    assert Row(name="p99", unit="ms", value=34, naive=63, bar=34, bar_of="value", better="lower").meets is True
    assert Row(name="p99", unit="ms", value=35, naive=63, bar=34, bar_of="value", better="lower").meets is False


def test_what_is_not_measured_holds_nothing() -> None:
    assert Row(name="r", unit="events/s", naive=10, bar=8).meets is False


def test_a_further_condition_has_to_hold_too_and_stands_in_the_results() -> None:
    row = Row(name="r", unit="events/s", value=80, naive=10, bar=8, also=(("p99 40 ms of 34", False),))
    assert row.meets is False
    assert row.as_json() == {
        "name": "r", "value": 80.0, "unit": "events/s", "naive": 10.0, "ratio": 8.0,
        "bar": "8 x; p99 40 ms of 34 (missed)", "meets": False,
    }  # fmt: skip


def test_the_results_hold_the_rows_of_the_design_in_their_order_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "RESULTS", tmp_path / "bench.json")
    (tmp_path / "bench.json").write_text('[{"name": "capture_sqlite", "value": 1}]')
    run.write([Row(name="memory", unit="MB", value=100, bar=250, bar_of="value", better="lower")])
    rows = json.loads((tmp_path / "bench.json").read_text())
    assert [row["name"] for row in rows] == list(run.NAMES)
    assert {row["name"] for row in rows if row["meets"]} == {"memory"}
    assert all(row.keys() == {"name", "value", "unit", "naive", "ratio", "bar", "meets"} for row in rows)
