"""Bad input over real HTTP: a clear problem document each time, and nothing half-stored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.server import Server

WORKFLOW = {
    "comment": """\
key: comment
on: [comment.created]
data_schema: { type: object, required: [author], properties: { author: { type: string } } }
steps: [{ channel: in_app, title: "{{ event.data.author }}" }]
"""
}
GOOD = {"type": "comment.created", "data": {"author": "Ada"}, "recipients": ["ada"]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("bad") / "c", WORKFLOW) as running:
        yield running


@pytest.mark.parametrize(
    "method, path, body, status, code",
    [
        ("POST", "/v1/events", {**GOOD, "x": 1}, 422, "unknown_field"),
        ("POST", "/v1/events", {**GOOD, "recipients": 7}, 422, "invalid_field"),
        ("POST", "/v1/events", {**GOOD, "data": {}}, 422, "invalid_data"),
        ("POST", "/v1/events", {**GOOD, "data": {"author": 7}}, 422, "invalid_data"),
        ("POST", "/v1/events", {**GOOD, "type": "nobody.listens"}, 422, "unknown_event_type"),
        ("POST", "/v1/events", {**GOOD, "data": {"author": "x" * 300_000}}, 413, "payload_too_large"),
        ("POST", "/v1/events", {**GOOD, "topic": "t"}, 422, "invalid_audience"),
        ("POST", "/v1/events/batch", {"events": [GOOD] * 1_001}, 422, "batch_too_large"),
        ("POST", "/v1/events/batch", {"event": []}, 422, "unknown_field"),
        ("GET", "/v1/events/evt_nonsense", None, 404, "not_found"),
        ("GET", "/v1/events/evt_00000000000000000000000000", None, 404, "not_found"),
        ("POST", "/v1/events/evt_00000000000000000000000000/cancel", None, 404, "not_found"),
        ("GET", "/v1/notifications/dlv_00000000000000000000000000", None, 404, "not_found"),
        ("GET", "/v1/notifications?cursor=nonsense", None, 422, "invalid_cursor"),
        ("GET", "/v1/notifications?limit=501", None, 422, "invalid_field"),
        ("GET", "/v1/notifications?state=flying", None, 422, "invalid_field"),
        ("GET", "/v1/recipients/nobody", None, 404, "not_found"),
        ("PUT", "/v1/recipients/ada", {"timezone": "Mars/Olympus"}, 422, "invalid_timezone"),
        ("PUT", "/v1/recipients/ada", {"email": "not an address"}, 422, "invalid_email"),
        ("PUT", "/v1/recipients/ada", {"phone": "12"}, 422, "invalid_phone"),
        ("PUT", "/v1/recipients/ada", {"nickname": "A"}, 422, "unknown_field"),
        ("POST", "/v1/recipients/batch", {"recipients": [{"id": "a"}] * 1_001}, 422, "batch_too_large"),
        ("PUT", "/v1/workflows/broken", {"on": ["a"], "steps": [{"channel": "sms", "body": "{{ x"}]}, 422, None),
        ("PUT", "/v1/workflows/broken", {"on": ["a"], "steps": [{"channel": "pigeon"}]}, 422, None),
        ("POST", "/v1/decisions/preview", {**GOOD, "at": "noon"}, 422, "invalid_time"),
        ("POST", "/v1/keys", {"role": "king"}, 422, "invalid_field"),
        ("GET", "/v1/nowhere", None, 404, "not_found"),
        ("DELETE", "/v1/events", None, 405, "method_not_allowed"),
    ],
)
def test_each_mistake_gets_its_problem(
    server: Server, method: str, path: str, body: Any, status: int, code: str | None
) -> None:
    answer = server.call(method, path, body)
    assert answer.status == status, answer
    assert answer.kind == "application/problem+json"
    assert code is None or answer.body["code"] == code, answer.body
    assert answer.body["detail"]


@pytest.mark.parametrize("raw", [b'{"type": ', b"", b"\xff\xfe", b"nonsense"])
@pytest.mark.parametrize("path", ["/v1/events", "/v1/events/batch", "/v1/recipients/batch"])
def test_what_isnt_json_is_malformed(server: Server, path: str, raw: bytes) -> None:
    answer = server.call("POST", path, raw=raw)
    assert (answer.status, answer.body["code"]) in ((400, "malformed_json"), (422, "missing_field"))


def test_after_all_that_nothing_is_stored(server: Server) -> None:
    assert list(server.notifications()) == []
    assert server.call("GET", "/v1/recipients/ada").status == 404
    assert server.call("GET", "/v1/workflows/broken").status == 404


def test_in_a_batch_each_event_stands_for_itself(server: Server) -> None:
    large = {**GOOD, "data": {"author": "x" * 300_000}}
    answer = server.call("POST", "/v1/events/batch", {"events": [GOOD, {"type": ""}, large, GOOD]})
    assert [r["status"] for r in answer.body["results"]] == ["accepted", "rejected", "rejected", "accepted"]
    assert answer.body["results"][2]["error"]["code"] == "payload_too_large"


def test_without_a_key_and_with_a_wrong_one_nothing_is_told(server: Server) -> None:
    for key in (None, "wrong"):
        answer = server.call("POST", "/v1/events", GOOD, key=key)
        assert (answer.status, answer.body["code"]) == (401, "unauthorized")
