"""Addresses that must not be used."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from clarion.clock import HOUR, rfc3339
from clarion.directory.suppressions import suppression_of
from clarion.ledger.facts import AddressSuppressed, SuppressionLifted
from clarion.model.errors import Invalid
from tests.directory.conftest import NOW, Desk


async def causes(desk: Desk, who: str, now: int = NOW) -> list[str | None]:
    return [c.suppressed for c in (await desk.person(who, now)).contacts]


async def test_a_suppressed_address_is_marked_however_it_is_written(desk: Desk) -> None:
    await desk.put({"id": "ada", "email": "Ada@example.com", "phone": "+14155550123"}, {"id": "bea"})
    await desk.suppress("email", "ADA@EXAMPLE.COM", "asked by phone")

    assert set(await causes(desk, "ada")) == {None, "asked by phone"}
    assert (await desk.version("ada"), await desk.version("bea")) == (2, 1)
    await desk.put({"id": "bea", "email": "ada@example.com"})
    assert await causes(desk, "bea") == ["asked by phone"]


async def test_a_suppression_holds_for_its_channel_only(desk: Desk) -> None:
    await desk.device("ada", token="t1")
    await desk.suppress("chat", "t1")
    assert await causes(desk, "ada") == [None]
    assert await desk.version("ada") == 1


async def test_a_suppression_ends_with_its_expiry(desk: Desk) -> None:
    await desk.put({"id": "ada", "email": "ada@example.com"})
    await desk.suppress("email", "ada@example.com", expires_at=rfc3339(NOW + HOUR))
    assert await causes(desk, "ada", NOW + HOUR - 1) == ["bounced"]
    assert await causes(desk, "ada", NOW + HOUR) == [None]


async def test_suppressing_again_renews_and_lifting_ends_it(desk: Desk) -> None:
    await desk.put({"id": "ada", "email": "ada@example.com"})
    first = await desk.suppress("email", "ada@example.com", expires_at=rfc3339(NOW + HOUR))
    assert await desk.suppress("email", "ada@example.com", "complained") == first
    assert await desk.suppress("email", "ada@example.com", "complained") == first
    assert await causes(desk, "ada", NOW + HOUR) == ["complained"]
    assert await desk.version("ada") == 3

    assert await desk.lift(first) == 1
    assert await causes(desk, "ada") == [None]
    assert await desk.version("ada") == 4
    assert await desk.lift(first) == 0
    facts = [*await desk.facts("AddressSuppressed"), *await desk.facts("SuppressionLifted")]
    assert [(type(f), f.subject) for f in facts] == [
        (AddressSuppressed, first),
        (AddressSuppressed, first),
        (SuppressionLifted, first),
    ]


async def test_the_same_address_from_many_at_once_is_one_suppression(desk: Desk) -> None:
    found = await asyncio.gather(*(desk.suppress("email", "ada@example.com") for _ in range(8)))
    assert len(set(found)) == 1
    assert await desk.count("suppressions") == 1


@pytest.mark.parametrize(
    "fields, code",
    [
        ({"channel": "pigeon", "address": "a@example.com", "cause": "bounced"}, "invalid_channel"),
        ({"channel": "in_app", "address": "a@example.com", "cause": "bounced"}, "invalid_channel"),
        ({"channel": "email", "address": "nobody", "cause": "bounced"}, "invalid_email"),
        ({"channel": "sms", "address": "5", "cause": "bounced"}, "invalid_phone"),
        ({"channel": "push", "address": "", "cause": "bounced"}, "invalid_address"),
        ({"channel": "email", "address": "a@example.com"}, "invalid_cause"),
        ({"channel": "email", "address": "a@example.com", "cause": "a@example.com bounced"}, "invalid_cause"),
        ({"channel": "email", "address": "a@example.com", "cause": "b", "expires_at": "soon"}, "invalid_expires_at"),
        ({"channel": "email", "address": "a@example.com", "cause": "b", "expires_at": 7}, "invalid_expires_at"),
        (
            {"channel": "email", "address": "a@example.com", "cause": "b", "expires_at": "2020-01-01T00:00:00Z"},
            "invalid_expires_at",
        ),
        ({"channel": "email", "address": "a@example.com", "cause": "b", "reason": "x"}, "unknown_field"),
    ],
)
def test_a_suppression_that_cannot_be_is_refused(fields: dict[str, Any], code: str) -> None:
    with pytest.raises(Invalid) as refused:
        suppression_of(fields, NOW)
    assert refused.value.code == code
    assert "a@example.com" not in refused.value.detail
