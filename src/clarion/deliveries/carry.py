"""Carries messages through a provider of either kind and reports each outcome as it arrives.

It renders nothing, stores nothing and decides nothing about retries. It never raises: a provider that crashes is an
outcome, `transient` if nothing had left, else `uncertain`. Cancelled, it stops; what was in flight stays unreported.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import structlog

from clarion.deliveries.interface import BatchProvider, HttpProvider, HttpRequest, Provider, Report, SendProvider
from clarion.deliveries.lease import NOT_OURS, may_leave
from clarion.model.delivery import Message, Outcome, failed
from clarion.model.ids import Id
from clarion.model.words import OutcomeKind

log = structlog.get_logger(__name__)

#: The code of an attempt that a fault in the provider's own code has ended.
CRASHED = "provider_crashed"


async def deliver(provider: Provider, messages: Sequence[Message], now: int, report: Report) -> None:
    """Sends all messages at once and reports every one exactly once."""
    ready = []
    for message in messages:
        refusal = _refused(provider, message)
        if refusal is None:
            ready.append(message)
        else:
            report(message.delivery_id, refusal)
    if isinstance(provider, BatchProvider):
        size = provider.limits.batch
        parts = [ready[start : start + size] for start in range(0, len(ready), size)]
        await _together([_exchange_all(provider, part, now, report) for part in parts])
    elif isinstance(provider, HttpProvider):
        await _together([_exchange(provider, message, now, report) for message in ready])
    elif isinstance(provider, SendProvider):
        size = provider.limits.batch
        batches = [ready[start : start + size] for start in range(0, len(ready), size)]
        await _together([_send(provider, batch, now, report) for batch in batches])
    else:
        raise TypeError(f"{provider!r} is neither an HttpProvider nor a SendProvider")


async def recall(provider: Provider, messages: Sequence[Message], now: int, report: Report) -> None:
    """Takes messages back from their devices; those of a provider that can't are reported as refused."""

    async def one(message: Message) -> None:
        assert isinstance(provider, HttpProvider)
        report(message.delivery_id, await _outcome(provider, message, now, provider.recall_for))

    if isinstance(provider, HttpProvider):
        await _together([one(message) for message in messages])
        return
    for message in messages:
        report(message.delivery_id, _NO_RECALL)


#: Makes the request for a message; None: there is none.
Make = Callable[[Message, int], HttpRequest | None]

_NO_RECALL = failed(OutcomeKind.REFUSED, "no_recall", "this provider takes nothing back")


def _refused(provider: Provider, message: Message) -> Outcome | None:
    try:
        return provider.check(message)
    except Exception as error:  # noqa: BLE001  # see the module's docstring
        return _crash(provider, error, OutcomeKind.TRANSIENT)


async def _exchange(provider: HttpProvider, message: Message, now: int, report: Report) -> None:
    report(message.delivery_id, await _outcome(provider, message, now, provider.request_for))


async def _outcome(provider: HttpProvider, message: Message, now: int, make: Make) -> Outcome:
    try:
        request = make(message, now)
    except Exception as error:  # noqa: BLE001
        return _crash(provider, error, OutcomeKind.TRANSIENT)
    if request is None:
        return _NO_RECALL
    size = len(request.body) if request.counted is None else request.counted
    if refusal := provider.limits.check_size(size):
        return refusal
    try:
        answer = await provider.call(request, now)
        return answer if isinstance(answer, Outcome) else provider.outcome_of(answer, message)
    except Exception as error:  # noqa: BLE001
        return _crash(provider, error, OutcomeKind.UNCERTAIN)


async def _exchange_all(provider: BatchProvider, messages: Sequence[Message], now: int, report: Report) -> None:
    """One request for all; if one of them has spoilt it, two for their halves, until it is found."""
    if len(messages) == 1:
        await _exchange(provider, messages[0], now, report)
        return
    outcomes = await _outcomes(provider, messages, now)
    if outcomes is None:
        half = len(messages) // 2
        await _together([_exchange_all(provider, part, now, report) for part in (messages[:half], messages[half:])])
        return
    for message, outcome in zip(messages, outcomes, strict=True):
        report(message.delivery_id, outcome)


async def _outcomes(provider: BatchProvider, messages: Sequence[Message], now: int) -> Sequence[Outcome] | None:
    """None: the request was spoilt, and nothing of it was taken."""
    try:
        request = provider.request_for_all(messages, now)
    except Exception:  # noqa: BLE001  # whichever it is: alone it is told
        return None
    if provider.limits.check_size(len(request.body) if request.counted is None else request.counted):
        return None
    try:
        answer = await provider.call(request, now)
        if isinstance(answer, Outcome):
            return [answer] * len(messages)
        return None if provider.is_spoilt(answer) else provider.outcomes_of(answer, messages)
    except Exception as error:  # noqa: BLE001
        return [_crash(provider, error, OutcomeKind.UNCERTAIN)] * len(messages)


async def _send(provider: SendProvider, messages: Sequence[Message], now: int, report: Report) -> None:
    waiting = {message.delivery_id for message in messages}

    def once(delivery: Id, outcome: Outcome) -> None:
        if delivery in waiting:
            waiting.discard(delivery)
            report(delivery, outcome)

    rest = failed(OutcomeKind.UNCERTAIN, CRASHED, "the provider gave no outcome")
    try:
        if may_leave():
            await provider.send(messages, now, once)
        else:
            rest = NOT_OURS
    except Exception as error:  # noqa: BLE001
        rest = _crash(provider, error, OutcomeKind.UNCERTAIN)
    for message in messages:
        once(message.delivery_id, rest)


def _crash(provider: Provider, error: Exception, kind: OutcomeKind) -> Outcome:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    # The error's text may hold an address or a secret; its type and place don't.
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else "no place"
    log.error(CRASHED, provider=provider.name, error=type(error).__name__, where=where)
    return failed(kind, CRASHED, f"{type(error).__name__} at {where}")


async def _together(work: Sequence[Coroutine[Any, Any, None]]) -> None:
    async with asyncio.TaskGroup() as group:
        for one in work:
            group.create_task(one)
