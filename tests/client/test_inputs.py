"""Events as values: one audience, a key from birth, times with a zone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from clarion.client import Event
from clarion.client.inputs import wire


def test_an_event_on_the_wire_holds_what_was_said_and_nothing_else() -> None:
    event = Event("article.published", {"title": "A"}, topic="author:7", idempotency_key="k")

    assert wire(event) == {
        "type": "article.published",
        "data": {"title": "A"},
        "topic": "author:7",
        "idempotency_key": "k",
    }


@pytest.mark.parametrize(
    "to, recipients",
    [("ada", ["ada"]), (["ada", "bo"], ["ada", "bo"]), ([{"id": "ada", "email": "a@x.org"}], None), ((), [])],
)
def test_recipients_may_be_one_id_many_or_profiles(to: Any, recipients: list[Any] | None) -> None:
    assert wire(Event("t", to=to))["recipients"] == (to if recipients is None else recipients)


def test_a_broadcast_says_so() -> None:
    assert wire(Event("t", broadcast=True, idempotency_key="k")) == {
        "type": "t",
        "broadcast": True,
        "idempotency_key": "k",
    }


@pytest.mark.parametrize("audience", [{}, {"to": ["a"], "topic": "t"}, {"topic": "t", "broadcast": True}])
def test_an_event_has_exactly_one_audience(audience: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="exactly one audience"):
        Event("t", **audience)


def test_each_event_has_a_key_of_its_own_that_it_keeps() -> None:
    one, other = Event("t", to="a"), Event("t", to="a")

    assert len(one.idempotency_key) == 32
    assert one.idempotency_key != other.idempotency_key
    assert wire(one) == wire(one)


@pytest.mark.parametrize("name", ["send_at", "expires_at"])
def test_a_time_without_a_zone_is_refused(name: str) -> None:
    times: dict[str, Any] = {name: datetime(2027, 3, 14, 9)}  # noqa: DTZ001 - the mistake in question

    with pytest.raises(ValueError, match=f"{name} needs a time zone"):
        Event("t", to="a", **times)
    assert wire(Event("t", to="a", send_at=datetime(2027, 3, 14, 9, tzinfo=UTC)))["send_at"].year == 2027
