"""In which order a request is looked at: the key, what its headers say of the body, then the body, which is JSON."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.types import Message

from clarion.security.tokens import Claims, TokenPurpose, issue
from clarion.web.access import OPEN, PERMISSIONS, RECIPIENT_ROUTES
from tests.web.conftest import ADMIN_KEY, Api

MEGABYTE = b"x" * (1 << 20)
EVENT = {"type": "a.b", "recipients": ["ada"]}
#: All that takes a body, with what opens it.
WITH_BODIES = [
    *((method, path, "key") for method, path in PERMISSIONS if method in {"POST", "PUT", "PATCH"}),
    *((method, path, "token") for method, path in RECIPIENT_ROUTES if method in {"POST", "PUT", "PATCH"}),
]


class Body:
    """A body that comes a megabyte at a time, for ever, and counts how often it was asked for more."""

    def __init__(self) -> None:
        self.asked = 0

    async def receive(self) -> Message:
        self.asked += 1
        return {"type": "http.request", "body": MEGABYTE, "more_body": True}


async def send(api: Api, method: str, path: str, body: Body, **headers: str) -> tuple[int, str]:
    """Status and code of the answer."""
    scope: dict[str, Any] = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": path.replace("{", "").replace("}", ""), "raw_path": path.encode(), "query_string": b"",
        "root_path": "", "server": ("test", 80), "client": ("127.0.0.1", 1),
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip
    sent: list[Message] = []

    async def keep(message: Message) -> None:
        sent.append(message)

    await api.app(scope, body.receive, keep)
    text = b"".join(m.get("body", b"") for m in sent[1:])
    return sent[0]["status"], text.decode()


@pytest.fixture
async def opening(api: Api) -> dict[str, str]:
    """What opens a call, as the header says it."""
    claims = Claims(purpose=TokenPurpose.INBOX, project=1, recipient="ada")
    return {"key": f"Bearer {ADMIN_KEY}", "token": f"Bearer {issue(api.clarion.ring, claims)}"}


async def test_without_a_key_nothing_of_a_body_is_read(api: Api) -> None:
    for method, path, _ in WITH_BODIES:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic eDp5"}):
            body = Body()
            status, said = await send(api, method, path, body, content_length="99999999", **headers)
            assert (status, body.asked) == (401, 0), (method, path, said)


async def test_nor_with_a_key_whose_role_may_not(api: Api, opening: dict[str, str]) -> None:
    # Given what a person's token may do, no key may: the table says it before anything is read
    for method, path in RECIPIENT_ROUTES:
        if method in {"POST", "PUT", "PATCH"}:
            body = Body()
            status, said = await send(api, method, path, body, authorization=opening["key"])
            assert (status, body.asked) == (401, 0), (path, said)


async def test_a_body_that_says_it_is_too_large_is_refused_at_once(api: Api, opening: dict[str, str]) -> None:
    for method, path, by in WITH_BODIES:
        body = Body()
        size = str((16 << 20) + 1)
        status, said = await send(api, method, path, body, authorization=opening[by], content_length=size)
        assert (status, body.asked) == (413, 0), (path, said)
        assert '"payload_too_large"' in said


async def test_one_that_says_nothing_is_counted_as_it_comes(api: Api, opening: dict[str, str]) -> None:
    for method, path, by in WITH_BODIES:
        body = Body()
        headers = {"authorization": opening[by], "transfer_encoding": "chunked"}
        status, said = await send(api, method, path, body, **headers)
        assert status == 413, (path, said)
        assert body.asked == 17


async def test_what_needs_no_key_takes_no_large_body_either(api: Api) -> None:
    for path in OPEN:
        body = Body()
        size = str((16 << 20) + 1)
        status, said = await send(api, "POST", path, body, content_length=size)
        assert (status, body.asked) in {(413, 0), (404, 0)}, (path, status, said)  # no such provider


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/xml", "nonsense"])
async def test_what_isnt_json_says_so_and_isnt_read(api: Api, opening: dict[str, str], kind: str) -> None:
    for method, path, by in WITH_BODIES:
        body = Body()
        headers = {"authorization": opening[by], "content_type": kind, "content_length": "10"}
        status, said = await send(api, method, path, body, **headers)
        assert (status, body.asked) == (415, 0), (path, said)
        assert '"unsupported_media_type"' in said


async def test_a_packed_body_is_refused(api: Api, opening: dict[str, str]) -> None:
    for method, path, by in WITH_BODIES:
        body = Body()
        headers = {"authorization": opening[by], "content_encoding": "gzip", "content_length": "10"}
        assert (await send(api, method, path, body, **headers))[0] == 415, path
        assert body.asked == 0


@pytest.mark.parametrize("kind", [None, "application/json", "Application/JSON; charset=utf-8", "application/ld+json"])
async def test_json_is_taken_by_all_its_names_and_without_one(api: Api, kind: str | None) -> None:
    headers = {} if kind is None else {"content-type": kind}
    for method, path, body in (
        ("PUT", "/v1/recipients/ada", {"locale": "de"}),
        ("POST", "/v1/topics/t/subscriptions", {"recipients": ["ada"]}),
    ):
        answer = await api(method, path, body, headers=headers, typed=False)
        assert answer.status in {200, 201}, answer
    refused = await api("POST", "/v1/events", EVENT, headers=headers, typed=False)
    assert refused.code == "unknown_event_type"


async def test_where_there_is_no_body_its_type_says_nothing(api: Api) -> None:
    answer = await api("GET", "/v1/keys", headers={"content-type": "text/plain"})
    assert answer.status == 200


@pytest.mark.parametrize(
    "raw",
    [
        b'{"locale": "\\ud800"}', b'{"attributes": {"\\udc00": 1}}', b'{"attributes": {"a": NaN}}',
        b'{"attributes": {"a": Infinity}}', b'{"attributes": {"a": 1e999}}', b"{'locale': 'de'}", b'{"locale": "\xff"}',
        b'{"attributes": {"a": ' + b"[" * 200 + b"]" * 200 + b"}}", b"[" * 100_000,
        b'{"attributes": {"a": 1' + b"0" * 5000 + b"}}",
    ],
)  # fmt: skip
async def test_what_isnt_json_to_the_letter_is_malformed(api: Api, raw: bytes) -> None:
    answer = await api("PUT", "/v1/recipients/ada", raw=raw)
    assert (answer.status, answer.code) == (400, "malformed_json")
    assert len(answer.body["detail"]) < 300
    assert (await api("GET", "/v1/recipients/ada")).status == 404


@pytest.mark.parametrize("name", ["%ED%A0%80", "%FF", "%C0%AF"], ids=["half a surrogate pair", "no start", "overlong"])
async def test_an_id_in_an_address_is_utf_8_or_nothing_is_stored(api: Api, opening: dict[str, str], name: str) -> None:
    body = Body()
    status, told = await send(api, "PUT", f"/v1/recipients/{name}", body, authorization=opening["key"])
    assert status == 422, told
    assert "aren't UTF-8" in told
    assert body.asked == 0
