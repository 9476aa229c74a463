from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from clarion.model.errors import Unavailable
from clarion.sandbox import processes
from clarion.sandbox.processes import Crashed, OverBudget, Sandbox

ASK = "tests.sandbox.questions:"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    made = Sandbox(0.2)
    yield made
    await made.close()


@pytest.mark.parametrize("question, place", [("for_ever", "the endless part"), ("for_ever_in_c", "the part in C")])
async def test_what_takes_too_long_is_ended_and_tells_where_it_was(sandbox: Sandbox, question: str, place: str) -> None:
    # When Python, or C code that nothing can interrupt, goes on for ever
    with pytest.raises(OverBudget) as caught:
        await sandbox.ask(f"{ASK}{question}")
    # Then it has ended, at a known place, and the next question is answered
    assert caught.value.place == place
    assert await sandbox.ask(f"{ASK}twice", 2) == {"twice": 4}


async def test_others_go_on_meanwhile(sandbox: Sandbox) -> None:
    turns = 0
    asked = asyncio.create_task(sandbox.ask(f"{ASK}for_ever_in_c"))
    while not asked.done():
        turns += 1
        await asyncio.sleep(0.005)
    assert turns > 20
    with pytest.raises(OverBudget):
        await asked


@pytest.mark.parametrize("question", ["dies", "takes_memory", "there_is_none"])
async def test_what_ends_its_process_is_told_and_harms_nobody(sandbox: Sandbox, question: str) -> None:
    with pytest.raises(Crashed):
        await sandbox.ask(f"{ASK}{question}")
    assert await sandbox.ask(f"{ASK}twice", 3) == {"twice": 6}


async def test_who_asks_no_more_gets_no_answer_that_is_anothers(sandbox: Sandbox) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await sandbox.ask(f"{ASK}for_ever")
    assert await asyncio.gather(*(sandbox.ask(f"{ASK}twice", n) for n in range(5))) == [
        {"twice": 2 * n} for n in range(5)
    ]


async def test_a_line_that_is_too_long_is_told_at_once() -> None:
    sandbox = Sandbox(0.2, most=1)
    first = asyncio.create_task(sandbox.ask(f"{ASK}twice", 1))
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await sandbox.ask(f"{ASK}twice", 2)
    assert await first == {"twice": 2}
    await sandbox.close()


async def test_who_waits_in_line_for_too_long_is_told_and_the_line_goes_on() -> None:
    sandbox = Sandbox(0.2, patience=0.05)
    first = asyncio.create_task(sandbox.ask(f"{ASK}for_ever"))
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await sandbox.ask(f"{ASK}twice", 1)
    with pytest.raises(OverBudget):
        await first
    assert await sandbox.ask(f"{ASK}twice", 2) == {"twice": 4}
    await sandbox.close()


async def test_a_child_knows_no_secrets_and_is_gone_when_nobody_needs_it(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLARION_ADMIN_KEY", "secret")
    monkeypatch.setattr(processes, "IDLE", 0.05)
    assert not {"CLARION_ADMIN_KEY"} & set(await sandbox.ask(f"{ASK}says_its_environment"))
    while sandbox._child is not None:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert await sandbox.ask(f"{ASK}twice", 1) == {"twice": 2}
