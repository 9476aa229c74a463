"""The conversation without a network: what is asked again, after what pause, and what an error answer becomes."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion.client import errors
from clarion.client.answers import Accepted
from clarion.client.exchange import (
    RETRIED,
    Answer,
    Lost,
    Plan,
    Reply,
    Request,
    Retries,
    ask,
    chunks,
    conversation,
    path,
    server_at,
    tell,
)

ACCEPTED = Answer(202, b'{"id":"evt_1","status":"accepted","duplicate":false,"added_later":1}')
HALF = Retries(limit=3, draw=lambda: 0.5, now=lambda: 1_800_000_000_000)


def talk(plan: Plan[Any], replies: Iterable[Reply], retries: Retries = HALF) -> tuple[list[Request], Any]:
    """Carries a conversation through; gives the requests and the value or the error."""
    asked: list[Request] = []
    conversing = conversation(plan, retries)
    try:
        asked.append(next(conversing))
        for reply in replies:
            asked.append(conversing.send(reply))  # noqa: PERF401 - a comprehension would swallow the end
    except StopIteration as end:
        return asked, end.value
    except errors.ClarionClientError as error:
        return asked, error
    raise AssertionError("the conversation wants to go on")


def posted() -> Plan[Accepted]:
    return ask("POST", "/v1/events", Accepted, {"type": "t", "idempotency_key": "k"})


def test_a_good_answer_becomes_a_value_and_fields_it_does_not_know_are_passed_over() -> None:
    asked, value = talk(posted(), [ACCEPTED])

    assert value == Accepted(id="evt_1", duplicate=False)
    assert asked == [Request("POST", "/v1/events", b'{"type":"t","idempotency_key":"k"}', {}, 0.0)]


@pytest.mark.parametrize("reply", [Lost("reset"), *(Answer(status) for status in sorted(RETRIED))])
def test_a_passing_fault_is_asked_again_with_the_very_same_bytes_after_longer_and_longer_pauses(reply: Reply) -> None:
    asked, value = talk(posted(), [reply, reply, reply, ACCEPTED])

    assert isinstance(value, Accepted)
    assert {(r.method, r.target, r.body) for r in asked} == {("POST", "/v1/events", asked[0].body)}
    assert [r.pause for r in asked] == [0.0, 0.125, 0.25, 0.5]


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 408, 409, 412, 413, 422, 500, 501])
def test_every_other_answer_is_final(status: int) -> None:
    asked, error = talk(posted(), [Answer(status)])

    assert len(asked) == 1
    assert isinstance(error, errors.ClarionApiError)
    assert (error.status, error.code) == (status, f"http_{status}")


def test_when_the_retries_are_used_up_the_last_reply_tells_why() -> None:
    down, refused = Answer(503, b'{"code":"unavailable","detail":"the disk is full"}'), Lost("connection refused")

    asked, error = talk(posted(), [refused, refused, refused, down])
    assert len(asked) == 4
    assert isinstance(error, errors.Unavailable)
    assert error.detail == "the disk is full"

    asked, error = talk(posted(), [down, down, down, refused])
    assert len(asked) == 4
    assert isinstance(error, errors.Unreachable)
    assert "connection refused" in str(error)


@pytest.mark.parametrize(
    "retry_after, pause",
    [("7", 7.125), (" 0 ", 0.125), ("Fri, 15 Jan 2027 08:00:30 GMT", 30.125), ("Fri, 15 Jan 2020 08:00:30 GMT", 0.125)],
)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_obeyed_in_seconds_and_as_a_date(status: int, retry_after: str, pause: float) -> None:
    # Given a clock at 2027-01-15T08:00:00Z
    asked, _ = talk(posted(), [Answer(status, retry_after=retry_after), ACCEPTED])

    assert asked[1].pause == pause


def test_a_retry_after_that_is_too_long_is_not_waited_for() -> None:
    asked, error = talk(posted(), [Answer(429, b'{"code":"rate_limited","detail":"slow down"}', retry_after="61")])

    assert len(asked) == 1
    assert isinstance(error, errors.RateLimited)


def test_a_retry_after_that_makes_no_sense_is_passed_over() -> None:
    asked, _ = talk(posted(), [Answer(429, retry_after="soon"), ACCEPTED])

    assert asked[1].pause == 0.125


@given(failures=st.integers(0, 40), draw=st.floats(0, 1, exclude_max=True), asked=st.integers(0, 60))
def test_pauses_are_drawn_between_what_was_asked_and_the_doubling_bound(failures: int, draw: float, asked: int) -> None:
    retries = Retries(limit=41, draw=lambda: draw)

    pause = retries.pause(Answer(429, retry_after=str(asked)), failures)

    assert pause is not None
    assert asked <= pause <= asked + min(retries.longest, retries.first * 2**failures)


def test_the_jitter_that_is_drawn_by_default_differs_and_stays_in_bounds() -> None:
    drawn = {Retries().draw() for _ in range(50)}

    assert len(drawn) > 40
    assert all(0 <= number < 1 for number in drawn)


def test_a_delete_whose_first_answer_was_lost_is_done_when_the_thing_is_gone() -> None:
    gone = Answer(404, b'{"code":"not_found","detail":"no such recipient"}')

    assert talk(tell("DELETE", "/v1/recipients/u1"), [Lost("reset"), gone])[1] is None
    assert isinstance(talk(tell("DELETE", "/v1/recipients/u1"), [gone])[1], errors.NotFound)


@pytest.mark.parametrize(
    "status, code, kind",
    [
        (400, "malformed_json", errors.BadRequest),
        (401, "unauthorized", errors.Unauthorized),
        (403, "forbidden", errors.Forbidden),
        (404, "not_found", errors.NotFound),
        (412, "stale_version", errors.Stale),
        (413, "payload_too_large", errors.TooLarge),
        (418, "teapot", errors.ClarionApiError),
        (422, "invalid_email", errors.Invalid),
        (422, "idempotency_conflict", errors.IdempotencyConflict),
        (500, "internal", errors.Unavailable),
    ],
)
def test_an_error_says_status_code_detail_and_where(status: int, code: str, kind: type[errors.ClarionApiError]) -> None:
    body = f'{{"type":"about:blank","code":"{code}","detail":"so not","where":"recipients[3].email"}}'.encode()

    _, error = talk(posted(), [Answer(status, body)])

    assert type(error) is kind
    assert (error.status, error.code, error.detail, error.where) == (status, code, "so not", "recipients[3].email")
    assert str(error) == f"{code}: so not (at recipients[3].email)"
    again = pickle.loads(pickle.dumps(error))  # Celery passes exceptions between processes
    assert (type(again), str(again)) == (kind, str(error))


@pytest.mark.parametrize("body", [b"", b"<html>Bad gateway</html>", b"[]", b'{"code": 7}'])
def test_an_error_page_of_something_in_between_is_still_an_error(body: bytes) -> None:
    _, error = talk(posted(), [Answer(400, body)])

    assert isinstance(error, errors.BadRequest)
    assert (error.code, error.detail) == ("http_400", "HTTP 400 Bad Request")


@pytest.mark.parametrize("body", [b"", b"<html>Welcome</html>", b'{"id":7,"status":"accepted"}', b'{"status":"lost"}'])
def test_a_good_status_with_a_body_of_another_shape_is_no_success(body: bytes) -> None:
    _, error = talk(posted(), [Answer(200, body)])

    assert isinstance(error, errors.ClarionApiError)
    assert error.code == "unexpected_answer"


def test_paths_are_quoted_and_queries_leave_out_what_was_not_said() -> None:
    assert path("topics", "author:7/ü?", "subscriptions") == "/v1/topics/author%3A7%2F%C3%BC%3F/subscriptions"
    assert path("notifications", recipient="a&b", event=None, effective=True) == (
        "/v1/notifications?recipient=a%26b&effective=true"
    )


@pytest.mark.parametrize("id", ["", ".", ".."])
def test_an_id_that_would_change_the_path_is_refused(id: str) -> None:
    with pytest.raises(ValueError, match="empty"):
        path("recipients", id)


@given(st.lists(st.binary(max_size=20), max_size=30), st.integers(1, 5), st.integers(1, 40))
def test_chunks_lose_nothing_keep_the_order_and_the_limits(items: list[bytes], most: int, most_bytes: int) -> None:
    runs = list(chunks(items, most, most_bytes))

    assert [item for run in runs for item in run] == items
    assert all(0 < len(run) <= most for run in runs)
    assert all(len(run) == 1 or sum(map(len, run)) <= most_bytes for run in runs)


@pytest.mark.parametrize("url", ["", "clarion.example.com", "ftp://x", "http://", "https://x/?a=1", "https://x/#a"])
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        server_at(url, "key", None)


@pytest.mark.parametrize("key", ["", "two words", "line\nbreak", "schlüssel"])
def test_a_key_that_is_none_is_refused_at_once_and_not_repeated(key: str) -> None:
    with pytest.raises(ValueError, match="API key") as refused:
        server_at("http://x", key, None)
    assert not key or key not in str(refused.value)


def test_the_address_may_have_a_path_and_a_port() -> None:
    server = server_at("https://[::1]:8443/clarion/", "k", "shop")

    assert server.base == "https://[::1]:8443/clarion"
    assert server.headers["Authorization"] == "Bearer k"
    assert server.headers["Clarion-Project"] == "shop"
