"""An SMTP account: its settings, TLS and signing in, against aiosmtpd with STARTTLS and AUTH."""

from __future__ import annotations

import re
from typing import Any

import pytest
from aiosmtpd.smtp import AuthResult, LoginPassword

from clarion.deliveries.interface import ProviderConfig
from clarion.deliveries.providers import build
from clarion.deliveries.providers.smtp import Smtp
from clarion.model.errors import Misconfigured
from clarion.model.words import Channel, OutcomeKind
from tests.deliveries.messages import message
from tests.deliveries.providers.mailing import SENDER, one, opened, sent, smtp
from tests.deliveries.providers.smtp_server import PlainServer
from tests.deliveries.tcp import certificates
from tests.smtp_sink import SmtpSink

# --- TLS and authentication ---


def check_password(server: object, session: object, envelope: object, mechanism: str, data: object) -> AuthResult:
    good = data == LoginPassword(b"clarion", b"correct horse")
    return AuthResult(success=good, handled=False)


LOGIN = {"username": "clarion", "password": "correct horse"}


async def test_mail_goes_over_starttls_with_a_login() -> None:
    with SmtpSink(
        tls_context=certificates().server, require_starttls=True, authenticator=check_password, auth_required=True
    ) as sink:
        async with opened(sink.port, host="localhost", tls="starttls", **LOGIN) as provider:
            outcomes = await sent(
                provider,
                [message(n, parts={"subject": "Füße", "text": "Grüße", "html": "<p>Grüße</p>"}) for n in range(30)],
            )
            assert all(outcome.accepted for outcome in outcomes)
            mails = await sink.received(30)
    assert mails[0].message["Subject"] == "Füße"
    assert mails[0].message["List-Unsubscribe"] is None
    body = mails[0].message.get_body(("plain",))
    assert body is not None
    assert body.get_content() == "Grüße"


async def test_mail_goes_over_implicit_tls() -> None:
    server = PlainServer()
    async with server.running(certificates().server), opened(server.port, host="localhost", tls="tls") as provider:
        outcomes = await sent(
            provider, [message(1), message(2, parts={"subject": "long", "text": "0123456789\n" * 400_000})]
        )
    assert all(outcome.accepted for outcome in outcomes)
    assert len(server.mails) == 2


async def test_a_wrong_password_is_our_own_fault_and_never_told() -> None:
    with SmtpSink(tls_context=certificates().server, authenticator=check_password, auth_required=True) as sink:
        wrong = {"username": "clarion", "password": "battery staple"}
        async with opened(sink.port, host="localhost", tls="starttls", **wrong) as provider:
            outcomes = await sent(provider, [message(n) for n in range(40)])
    assert {(outcome.kind, outcome.code) for outcome in outcomes} == {(OutcomeKind.MISCONFIGURED, "535")}
    assert "battery" not in repr(outcomes)


async def test_a_server_without_starttls_gets_neither_password_nor_mail() -> None:
    server = PlainServer()
    async with server.running(), opened(server.port, tls="starttls", **LOGIN) as provider:
        outcome = await one(provider)
    assert (outcome.kind, outcome.code) == (OutcomeKind.MISCONFIGURED, "starttls_missing")
    assert [line[:4] for line in server.commands] == ["EHLO"]


async def test_a_server_without_a_way_to_log_in_is_our_own_fault() -> None:
    server = PlainServer()
    async with server.running(), opened(server.port, **LOGIN) as provider:
        outcome = await one(provider)
    assert (outcome.kind, outcome.code) == (OutcomeKind.MISCONFIGURED, "auth_missing")


@pytest.mark.parametrize("tls", ["tls", "starttls"])
async def test_a_certificate_that_is_not_trusted_ends_it_before_the_password(tls: str) -> None:
    config = {"host": "localhost", "tls": tls, "from": SENDER, **LOGIN}
    server = PlainServer()
    with SmtpSink(tls_context=certificates().server) as sink:
        async with server.running(certificates().server):
            port = sink.port if tls == "starttls" else server.port
            stranger = build(
                ProviderConfig(name="mail", kind="smtp", channel=Channel.EMAIL, config={**config, "port": port})
            )
            assert isinstance(stranger, Smtp)
            outcome = await one(stranger)
    assert (outcome.kind, outcome.code) == (OutcomeKind.TRANSIENT, "tls")
    assert not server.commands


# --- settings ---


@pytest.mark.parametrize(
    "config,says",
    [
        ({"hots": "x"}, "no config key 'hots'; it has host, from, port, tls, username, password"),
        ({"from": "nobody"}, "from isn't an address"),
        ({"tls": "ssl"}, "config.tls"),
        ({"port": "many"}, "config.port"),
        ({"username": "u"}, "go together"),
        ({"password": "env:NOT_SET"}, "environment variable NOT_SET"),
    ],
)
def test_wrong_settings_say_what_is_wrong(config: dict[str, Any], says: str) -> None:
    with pytest.raises(Misconfigured, match=re.escape(says)) as caught:
        smtp(25, **config)
    assert "provider 'mail'" in str(caught.value)


def test_the_port_follows_from_tls() -> None:
    provider = build(ProviderConfig(name="m", kind="smtp", channel=Channel.EMAIL, config={"host": "h", "from": SENDER}))
    assert isinstance(provider, Smtp)
    assert provider._settings.port is None
    assert provider._settings.tls == "starttls"
