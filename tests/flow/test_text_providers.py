"""Providers of SMS: texts go out on a real connection, receipts come to the URL they told of, a STOP is obeyed."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

import jwt
import pytest

from clarion.bootstrap import Clarion
from clarion.clock import SECOND, SystemClock
from clarion.deliveries.http import HttpClient
from clarion.deliveries.interface import ProviderConfig, Services
from clarion.deliveries.providers import build
from clarion.deliveries.providers.twilio import signature as twilio_signature
from clarion.deliveries.providers.vonage import signature as vonage_signature
from clarion.model.words import Channel
from clarion.settings import load
from clarion.web.app import create_app
from tests.composed import Installation, outcomes
from tests.deliveries.tcp import listening
from tests.web import asgi

PUBLIC = "https://clarion.example"
NUMBER = "+14155550123"
FORM = "application/x-www-form-urlencoded"
KEY = "a key of thirty-two characters or more"


class Call(NamedTuple):
    """A provider's call to a URL of ours."""

    method: str
    url: str
    body: bytes = b""
    headers: Mapping[str, str] = {}


def by_twilio(url: str, fields: Mapping[str, str]) -> Call:
    signed = url + "".join(name + fields[name] for name in sorted(fields))
    headers = {"content-type": FORM, "x-twilio-signature": twilio_signature(KEY.encode(), signed)}
    return Call("POST", url, urlencode(fields).encode(), headers)


def by_vonage(url: str, fields: Mapping[str, str]) -> Call:
    signed = {**fields, "sig": vonage_signature(fields, KEY.encode(), "sha256")}
    return Call("POST", url, json.dumps(signed).encode(), {"content-type": "application/json"})


def by_messagebird(url: str, fields: Mapping[str, str]) -> Call:
    whole, now = f"{url}{'&' if '?' in url else '?'}{urlencode(fields)}", SystemClock().now() // SECOND
    claims = {"iss": "MessageBird", "nbf": now, "exp": now + 60, "url_hash": hashlib.sha256(whole.encode()).hexdigest()}
    return Call("GET", whole, headers={"messagebird-signature-jwt": jwt.encode(claims, KEY, algorithm="HS256")})


class Account(NamedTuple):
    """A provider as it is configured, what it answers, how it calls, and what it says."""

    config: dict[str, Any]
    answer: bytes
    call: Callable[[str, Mapping[str, str]], Call]
    told_url: Callable[[bytes], str]  #: where the request asked it to report
    delivered: dict[str, str]
    stop: dict[str, str]


def field_of(body: bytes, name: str) -> str:
    return dict(parse_qsl(body.decode()))[name]


DIGITS = NUMBER.removeprefix("+")
ACCOUNTS = {
    "twilio": Account(
        {"account_sid": "AC1", "auth_token": KEY, "from": "+14155550100"},
        b'{"sid": "SM1"}',
        by_twilio,
        lambda body: field_of(body, "StatusCallback"),
        {"MessageSid": "SM1", "MessageStatus": "delivered", "To": NUMBER},
        {"MessageSid": "SM2", "From": NUMBER, "To": "+14155550100", "Body": "Stop"},
    ),
    "vonage": Account(
        {"api_key": "k", "api_secret": "s", "from": "X", "signature_secret": KEY, "signature_method": "sha256"},
        b'{"messages": [{"status": "0", "message-id": "V1"}]}',
        by_vonage,
        lambda body: field_of(body, "callback"),
        {"messageId": "V1", "status": "delivered", "err-code": "0", "msisdn": DIGITS},
        {"messageId": "V2", "msisdn": DIGITS, "to": "14155550100", "text": "STOP"},
    ),
    "messagebird": Account(
        {"api_key": "k", "from": "X", "signing_key": KEY},
        b'{"id": "M1"}',
        by_messagebird,
        lambda body: str(json.loads(body)["reportUrl"]),
        {"id": "M1", "status": "delivered", "recipient": DIGITS},
        {"id": "M2", "originator": DIGITS, "recipient": "14155550100", "body": "stop"},
    ),
}


class Texts(NamedTuple):
    """An installation that texts ada through one provider, and what that provider got."""

    installation: Installation
    account: Account
    got: list[bytes]


@pytest.fixture(params=sorted(ACCOUNTS))
async def texts(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Texts]:
    account, got = ACCOUNTS[request.param], list[bytes]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            size = re.search(rb"content-length: (\d+)", head.lower())
            got.append(await reader.readexactly(int(size[1]) if size else 0))
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(account.answer) + account.answer)

    http = HttpClient(SystemClock())
    environment = {
        "CLARION_ENCRYPTION_KEYS_FILE": str(tmp_path / "k"),
        "CLARION_DATABASE_URL": f"sqlite:///{tmp_path}/d",
    }
    services = Services(http=http, callback_url=lambda name: f"{PUBLIC}/v1/callbacks/{name}")
    async with listening(serve) as port:
        config = ProviderConfig(
            name="texts",
            kind=request.param,
            channel=Channel.SMS,
            base_url=f"http://127.0.0.1:{port}",
            config=account.config,
        )
        settings = load(None, {**environment, "CLARION_PUBLIC_URL": PUBLIC})
        found = Installation(await Clarion.open(settings, None, {"texts": build(config, services)}), {})
        try:
            await found.clarion.work()
            await found.people("ada", phone=NUMBER)
            await found.workflow("note", {"channel": "sms", "body": "for ada"})
            yield Texts(found, account, got)
        finally:
            await found.clarion.close()
            await http.aclose()


async def test_a_text_is_delivered_and_after_a_stop_there_are_no_more(texts: Texts) -> None:
    installation, account, got = texts
    app = create_app(installation.clarion)

    async def make(call: Call) -> int:
        parts = urlsplit(call.url)
        answer = await asgi.call(
            app, call.method, parts.path, raw=call.body, query=dict(parse_qsl(parts.query)), headers=dict(call.headers)
        )
        return answer.status

    # Given a text that the provider took
    first = await installation.settled(await installation.event("note", recipients=["ada"], data={}))
    assert outcomes(first, "sms") == {"ada": ("sent", None)}
    # When it reports to the URL that it was told, then the text is delivered
    told = account.told_url(got[0])
    assert told.startswith(f"{PUBLIC}/v1/callbacks/texts?delivery=dlv_")
    assert await make(account.call(told, account.delivered)) == 200
    assert await installation.rows("SELECT state FROM deliveries") == [{"state": "delivered"}]
    # What isn't signed is refused
    assert await make(account.call(told, account.delivered)._replace(headers={}, body=b"")) == 401
    # When she texts STOP, then the next one isn't sent at all
    assert await make(account.call(f"{PUBLIC}/v1/callbacks/texts", account.stop)) == 200
    second = await installation.settled(await installation.event("note", recipients=["ada"], data={}))
    assert outcomes(second, "sms") == {"ada": ("suppressed", "address_suppressed")}
    assert len(got) == 1
