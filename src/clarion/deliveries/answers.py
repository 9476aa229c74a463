"""What HTTP providers have in common when they read answers: JSON that may be none, statuses without a code. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from clarion.deliveries.interface import HttpResponse
from clarion.model.delivery import Outcome, failed
from clarion.model.words import OutcomeKind

_decode = msgspec.json.Decoder().decode

_WAITING = (OutcomeKind.TRANSIENT, OutcomeKind.THROTTLED)


def object_in(body: bytes) -> Mapping[str, Any]:
    """The JSON object in a body; an empty one if there is none."""
    try:
        found = _decode(body)
    except (ValueError, RecursionError):  # msgspec's DecodeError is a ValueError
        return {}
    return found if isinstance(found, dict) else {}


def kind_of_status(status: int) -> OutcomeKind:
    """What a status that isn't 2xx means when the provider's documentation says nothing."""
    if status == 429:
        return OutcomeKind.THROTTLED
    if status >= 500 or status == 408:
        return OutcomeKind.TRANSIENT
    return OutcomeKind.MISCONFIGURED if status in (401, 403) else OutcomeKind.REFUSED


def must_wait(status: int) -> bool:
    """Whether the status alone says that another try may work, whatever the body tells."""
    return status == 429 or status >= 500


def refusal(
    response: HttpResponse, kind: OutcomeKind, code: str, detail: str | None = None, retry_after: int | None = None
) -> Outcome:
    """An answer that isn't an acceptance; Retry-After counts where waiting helps, `retry_after` before it."""
    wait = response.retry_after if retry_after is None else retry_after
    return failed(kind, code, detail, wait if kind in _WAITING else None)
