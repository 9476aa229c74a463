"""Events as producers send them: what is read, and what each mistake is told."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion.events.intake import MOST_BYTES, check_size, draft_of_batch_item, read_cloud_event, read_event, split_batch
from clarion.model.errors import Invalid
from clarion.model.words import Priority


def body(**fields: Any) -> bytes:
    return msgspec.json.encode({"type": "comment.created", "recipients": ["ada"], **fields})


def refused(content: bytes, header: str | None = None) -> Invalid:
    with pytest.raises(Invalid) as caught:
        read_event(1, content, header)
    return caught.value


def test_an_event_is_read_whole() -> None:
    draft = read_event(
        7,
        body(
            recipients=["ada", {"id": "bob", "email": "bob@example.com"}, "ada"],
            data={"n": 1},
            actor="cyd",
            tenant="acme",
            priority="high",
            send_at="2027-03-14T09:00:00+01:00",
            expires_at="2027-03-15T00:00:00Z",
        ),
    )
    assert draft.members == ("ada", "bob")
    assert [p.id for p in draft.profiles] == ["bob"]
    assert (draft.project, draft.actor, draft.tenant, draft.priority) == (7, "cyd", "acme", Priority.high)
    assert (draft.send_at, draft.expires_at) == (1_805_011_200_000, 1_805_068_800_000)
    assert draft.audience == "list"


@pytest.mark.parametrize(
    "content, status, code, where",
    [
        (b'{"type": ', 400, "malformed_json", None),
        (b"", 400, "malformed_json", None),
        (b'{"type": "a", "recipients": ["\\ud800"]}', 400, "malformed_json", None),
        (b'{"type": "a", "data": {"x": ' + b"[" * 100_000, 400, "malformed_json", None),
        (b"[]", 422, "invalid_field", None),
        (body(nonsense=1), 422, "unknown_field", "nonsense"),
        (body(type=7), 422, "invalid_field", "type"),
        (body(type=""), 422, "invalid_field", "type"),
        (b'{"recipients": ["ada"]}', 422, "missing_field", "type"),
        (body(type="a\u0000b"), 422, "invalid_field", "type"),
        (body(data=[1]), 422, "invalid_field", "data"),
        (body(recipients=7), 422, "invalid_field", "recipients"),
        (body(recipients=[7]), 422, "invalid_field", "recipients[0]"),
        (body(recipients=[""]), 422, "invalid_audience", "recipients[0]"),
        (body(recipients=["x" * 257]), 422, "invalid_audience", "recipients[0]"),
        (body(recipients=[{"email": "a@example.com"}]), 422, "invalid_audience", "recipients[0]"),
        (body(recipients=[{"id": "a", "email": "no address"}]), 422, "invalid_email", "recipients[0].email"),
        (body(recipients=[{"id": "a", "phone": "12"}]), 422, "invalid_phone", "recipients[0].phone"),
        (body(recipients=[{"id": "a", "timezone": "Mars/Olympus"}]), 422, "invalid_timezone", "recipients[0].timezone"),
        (body(recipients=[str(i) for i in range(10_001)]), 422, "invalid_audience", "recipients"),
        (body(topic="t"), 422, "invalid_audience", None),
        (body(recipients=None), 422, "invalid_audience", None),
        (body(send_at="tomorrow"), 422, "invalid_time", "send_at"),
        (body(send_at="2027-03-14T09:00:00"), 422, "invalid_time", "send_at"),
        (body(priority="urgent"), 422, "invalid_field", "priority"),
        (body(idempotency_key=""), 422, "invalid_field", "idempotency_key"),
        (body(idempotency_key="ce:mine"), 422, "invalid_field", "idempotency_key"),
    ],
)
def test_each_mistake_has_its_code_and_place(content: bytes, status: int, code: str, where: str | None) -> None:
    error = refused(content)
    assert (error.status, error.code, error.where) == (status, code, where)


def test_header_and_field_that_differ_are_refused() -> None:
    assert refused(body(idempotency_key="a"), "b").code == "invalid_field"
    assert read_event(1, body(idempotency_key="a"), "a").key == "a"


def test_the_same_body_has_the_same_fingerprint_in_any_order_and_with_the_key_in_either_place() -> None:
    one = b'{"type": "a", "data": {"x": 1, "y": [1, 2]}, "recipients": ["r"], "idempotency_key": "k"}'
    two = b'{"recipients": ["r"], "data": {"y": [1, 2], "x": 1}, "type": "a"}'
    assert read_event(1, one).fingerprint == read_event(1, two, "k").fingerprint
    other = two.replace(b"[1, 2]", b"[2, 1]")
    assert read_event(1, other, "k").fingerprint != read_event(1, two, "k").fingerprint


def test_a_cloud_event_names_its_audience_in_extensions_and_is_one_by_source_and_id() -> None:
    cloud = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "a", "recipients": "ada, bob", "subject": "x"}
    draft = read_cloud_event(1, msgspec.json.encode(cloud))
    assert draft.members == ("ada", "bob")
    assert draft.key == read_cloud_event(1, msgspec.json.encode({**cloud, "time": "2027-01-01T00:00:00Z"})).key
    assert draft.key != read_cloud_event(1, msgspec.json.encode({**cloud, "source": "/other"})).key
    with pytest.raises(Invalid, match=r"CloudEvents 1\.0"):
        read_cloud_event(1, msgspec.json.encode({**cloud, "specversion": "0.3"}))


def test_sizes_are_bounded() -> None:
    check_size(b"x" * MOST_BYTES)
    with pytest.raises(Invalid, match="262144") as caught:
        check_size(b"x" * (MOST_BYTES + 1))
    assert caught.value.status == 413
    events = [{"type": "a"}] * 1_001
    with pytest.raises(Invalid, match="1001") as caught:
        split_batch(msgspec.json.encode({"events": events}))
    assert caught.value.code == "batch_too_large"
    with pytest.raises(Invalid) as caught:
        draft_of_batch_item(1, body(data={"x": "x" * MOST_BYTES}))
    assert caught.value.code == "payload_too_large"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["type", "data", "recipients", "topic", "actor", "x"]), json_values))
def test_any_json_is_an_event_or_a_clear_error(fields: dict[str, Any]) -> None:
    with suppress(Invalid):
        assert read_event(1, msgspec.json.encode(fields)).type
