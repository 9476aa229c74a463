"""Every call, with hostile values in every place of path, query and body: never a 500, and nothing half-stored."""

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import quote

import pytest
import structlog.testing

from clarion.model.errors import Invalid
from clarion.security.tokens import Claims, TokenPurpose, issue
from clarion.storage import Tx
from clarion.web.access import RECIPIENT_ROUTES
from tests.web import asgi
from tests.web.conftest import ADMIN_KEY, Api
from tests.web.hostile import CURSORS, TEXTS, VALUES, Call, calls, places, sample, with_value

NOTE: Final[dict[str, Any]] = {
    "key": "note", "name": "Note", "on": ["note"], "category": "c", "priority": "normal", "expires_after": "1h",
    "when": {"event.data.x": {"ne": 1}}, "dedupe": {"key": "k", "window": "1m"},
    "digest": {"key": "k", "mode": "fixed", "window": "1m"}, "data_schema": {"type": "object"},
    "send_windows": [{"days": ["mon"], "start": "08:00", "end": "09:00"}],
    "preferences": {"email": {"max_per_hour": 3}},
    "steps": [{"channel": "email", "subject": "s", "html": "h"}, {"wait": "1m"}, {"channel": "in_app", "title": "t"}],
}  # fmt: skip
EVENT: Final[dict[str, Any]] = {
    "type": "note", "data": {"a": [1]}, "recipients": ["ada", {"id": "bob", "email": "b@x.example"}], "actor": "x",
    "tenant": "t", "send_at": "2027-01-01T00:00:00Z", "expires_at": "2028-01-01T00:00:00Z", "priority": "high",
}  # fmt: skip
BODIES: Final[dict[tuple[str, str], Any]] = {
    ("PUT", "/v1/workflows/{key}"): NOTE,
    ("POST", "/v1/events"): EVENT,
    ("POST", "/v1/events/batch"): {"events": [EVENT, EVENT]},
    ("POST", "/v1/decisions/preview"): {**EVENT, "at": "2027-01-01T00:00:00Z"},
}
KNOWN: Final = {
    "email": "ada@example.com", "type": "note", "channel": "email", "kind": "email", "value": "a@b.example",
    "address": "a@b.example", "platform": "expo", "token": "ExponentPushToken[x]", "expires_at": None, "category": None,
    "days": ["mon"], "digest": "hourly", "on_limit": "drop", "locale": "de", "purpose": "inbox", "project": None,
    "until": None,
}  # fmt: skip
IDS: Final = {"{id}": "ada", "{key}": "note", "{recipient}": "ada", "{provider}": "nobody"}
#: What grows with whatever is stored.
GROWING: Final = (
    "facts_operational", "facts_record", "events", "recipients", "contact_points", "preferences", "api_keys",
)  # fmt: skip


class Sweep:
    """Calls the API, and keeps what came out wrong."""

    def __init__(self, api: Api) -> None:
        self.api = api
        claims = Claims(purpose=TokenPurpose.INBOX, project=1, recipient="ada")
        self._token = issue(api.clarion.ring, claims)
        self.wrong: dict[tuple[Any, ...], Any] = {}
        self.count = 0

    async def rows(self) -> int:
        async def work(tx: Tx) -> int:
            row = await tx.first("SELECT " + " + ".join(f"(SELECT count(*) FROM {t})" for t in GROWING) + " AS n")
            assert row is not None
            return int(row["n"])

        return await self.api.clarion.db.read(work)

    async def call(
        self, call: Call, path: str, where: Any, raw: bytes = b"", query: dict[str, str] | None = None
    ) -> None:
        self.count += 1
        before = await self.rows()
        key = self._token if (call.method, call.path) in RECIPIENT_ROUTES else ADMIN_KEY
        answer = await asgi.call(self.api.app, call.method, path, raw=raw, key=key, query=query)
        if answer.status < 400:
            return
        said = json.dumps(answer.body)
        if answer.status >= 500 or "Q" * 201 in said or "Q q " * 51 in said or await self.rows() != before:
            self.wrong.setdefault((call.method, call.path, answer.status), (where, said[:300]))


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_nothing_hostile_breaks_a_call(api: Api, request: pytest.FixtureRequest) -> None:
    # Given a workflow and a person
    assert (await api("PUT", "/v1/workflows/note", NOTE)).status == 201
    assert (await api("PUT", "/v1/recipients/ada", {"timezone": "Pacific/Kiritimati"})).status == 201
    document = api.app.openapi()
    sweep = Sweep(api)
    # and a part of the values in each place, another one in the next: a PostgreSQL takes its time for each call
    part = 2 if "sqlite" in request.node.name else 9

    # When every call gets them
    with structlog.testing.capture_logs():
        for call in calls(document):
            if call.path != "/v1/inbox/stream":
                await every_parameter(sweep, call, part)
                await every_place(sweep, document, call, part)

    # Then each is answered, refused ones clearly, and nothing of those is stored
    assert not sweep.wrong
    assert sweep.count > 1_000


def path_of(call: Call, **given: str) -> str:
    path = call.path
    for name, value in {**IDS, **{f"{{{name}}}": quote(value, safe="") for name, value in given.items()}}.items():
        path = path.replace(name, value)
    return path


async def every_parameter(sweep: Sweep, call: Call, part: int) -> None:
    for number, parameter in enumerate(call.parameters):
        name = parameter["name"]
        values = CURSORS if name == "cursor" else TEXTS[number % part :: part]
        for text in values:
            if parameter["in"] == "path":
                body = json.dumps(BODIES.get((call.method, call.path), {})).encode()
                await sweep.call(call, path_of(call, **{name: text}), (name, text[:40]), body)
            elif parameter["in"] == "query":
                await sweep.call(call, path_of(call), (name, text[:40]), query={name: text})


async def every_place(sweep: Sweep, document: dict[str, Any], call: Call, part: int) -> None:
    body = BODIES.get((call.method, call.path)) or (call.schema and sample(document, call.schema, KNOWN))
    if body is None:
        return
    for number, at in enumerate(places(body)):
        for value in VALUES[number % part :: part] if at else VALUES:
            await sweep.call(call, path_of(call), (at, str(value)[:40]), with_value(body, at, value))


@pytest.mark.parametrize(
    "path, cursor", [("/v1/keys", "WyJ4Il0="), ("/v1/workflows", "WzFd"), ("/v1/outbox", "W251bGxd")]
)
async def test_a_forged_cursor_is_none(api: Api, path: str, cursor: str) -> None:
    assert (await api("GET", path, cursor=cursor)).code == "invalid_cursor"


ODD: Final = [
    "a\u202eb", "a\u2066b", "a\u200bb", "a\u200db", "\ufeffa", "a\u2028b", "a\u2029b", "a\u00adb", "a\u3164b",
    "a\0b", "\ud800", ".", "..", " ",
]  # fmt: skip


@pytest.mark.parametrize("odd", ODD)
async def test_no_id_holds_what_nobody_sees(api: Api, odd: str) -> None:
    # Given characters that turn a text around, break its line or show nothing
    await api("PUT", "/v1/workflows/note", NOTE)
    for field in ("type", "topic", "tenant", "actor", "idempotency_key"):
        event = {**EVENT, field: odd} if field != "topic" else {"type": "note", "topic": odd}
        assert (await api("POST", "/v1/events", event)).status in {400, 422}, field
    assert (await api("POST", "/v1/events", {**EVENT, "recipients": [odd]})).status in {400, 422}
    assert (await api("POST", "/v1/topics/t/subscriptions", {"recipients": [odd]})).status in {400, 422}
    batch = await api("POST", "/v1/recipients/batch", {"recipients": [{"id": "ok"}, {"id": odd}]})
    assert batch.status == 400 or batch.body["results"][1]["error"]["code"] == "invalid_recipient"
    if odd != "\ud800":
        for path in ("/v1/recipients/{}", "/v1/tenants/{}", "/v1/workflows/{}"):
            assert (await api("PUT", path.format(quote(odd)), {})).status == 422, path
        assert (await api("POST", "/v1/workflows/note/render", {"recipient": odd})).status == 422


async def test_half_a_batch_is_never_stored(api: Api) -> None:
    raw = b'{"recipients": [{"id": "ada"}, {"id": "\\ud800"}]}'
    refused = await api("POST", "/v1/recipients/batch", raw=raw)
    assert refused.code == "malformed_json"
    assert (await api("GET", "/v1/recipients/ada")).status == 404


def test_an_error_repeats_little_of_what_was_given() -> None:
    error = Invalid("x", f"{'Q' * 5_000} isn't a key of {'R' * 300}", "S" * 1_000)
    assert error.detail == f"{'Q' * 80}… isn't a key of {'R' * 80}…"
    assert error.where == "S" * 80 + "…"
