"""SMTP against real servers: plain ones that break off as told, and aiosmtpd."""

from __future__ import annotations

import asyncio
import email
import email.policy
import re
from typing import Any

import pytest

from clarion.deliveries.carry import deliver
from clarion.deliveries.lease import NOT_OURS, send_under
from clarion.deliveries.providers.smtp import CONNECTIONS, MESSAGES_PER_CONNECTION, Phase, Reply, meaning
from clarion.model.delivery import Attachment, Outcome
from clarion.model.ids import DELIVERY, Id, show
from clarion.model.words import OutcomeKind
from tests.deliveries.messages import NOW, message
from tests.deliveries.providers.mailing import one, opened, sent, smtp
from tests.deliveries.providers.smtp_server import PlainServer
from tests.deliveries.tcp import deaf_port, free_port
from tests.smtp_sink import SmtpSink


async def against(server: PlainServer, **fields: Any) -> Outcome:
    async with server.running(), opened(server.port) as provider:
        return await one(provider, **fields)


# --- what arrives ---


async def test_a_mail_arrives_whole_at_a_very_plain_server() -> None:
    # Given a server that offers 8BITMIME and nothing else
    server = PlainServer()
    # When a mail with text and HTML is sent
    outcome = await against(server)
    # Then it is accepted, and what came can be read
    assert outcome.accepted
    ((to, content),) = server.mails
    assert to == "ada@example.com"
    mail = email.message_from_bytes(content, policy=email.policy.default)
    assert mail["Subject"] == "Grace replied"
    assert mail["Message-ID"] == f"<{show(DELIVERY, message().delivery_id)}@example.com>"
    assert [part.get_content_type() for part in mail.walk()] == ["multipart/alternative", "text/plain", "text/html"]


async def test_files_and_a_sender_of_its_own_arrive_over_a_usual_server() -> None:
    # Given a message with an image in its HTML, an invoice, and a sender of its own
    parts = {**message().parts, "from": "Shop <hi@shop.example>", "reply_to": "help@shop.example"}
    logo = Attachment(filename="logo.png", content_type="image/png", content=bytes(range(256)) * 50, cid="logo")
    invoice = Attachment(filename="invoice.pdf", content_type="application/pdf", content=b"..\r\n.\r\n" * 999)
    with SmtpSink() as sink:
        async with opened(sink.port) as provider:
            outcome = await one(provider, parts=parts, attachments=(logo, invoice), tags=("orders",))
    assert outcome.accepted
    # Then all of it is there, and the envelope still names the account's sender, who gets the bounces
    (mail,) = sink.mails
    assert mail.sender == "no-reply@example.com"
    assert (mail.message["From"], mail.message["Reply-To"]) == ("Shop <hi@shop.example>", "help@shop.example")
    files = [part.get_content() for part in mail.message.walk() if part.get_filename()]
    assert files == [logo.content, invoice.content]


async def test_files_count_when_a_mail_is_too_large() -> None:
    large = Attachment(filename="x", content_type="application/pdf", content=bytes(8_000_000))
    outcome = await one(smtp(free_port()), attachments=(large,))
    assert (outcome.kind, outcome.code) == (OutcomeKind.REFUSED, "payload_invalid")


async def test_a_retry_sends_the_same_bytes() -> None:
    server = PlainServer()
    async with server.running(), opened(server.port) as provider:
        await one(provider)
        await one(provider, attempt=2)
    assert server.mails[0] == server.mails[1]


async def test_lines_that_begin_with_a_dot_arrive_as_they_were() -> None:
    server = PlainServer()
    await against(server, parts={"subject": "dots", "text": ".\n..\n.hidden\n"})
    # The server keeps what went over the wire: every leading dot doubled (RFC 5321 section 4.5.2).
    assert b"\r\n\r\n..\r\n...\r\n..hidden\r\n" in server.mails[0][1]


async def test_nothing_in_a_message_can_become_a_header_a_recipient_or_a_command() -> None:
    server = PlainServer()
    outcome = await against(
        server,
        parts={"subject": "Hi\r\nBcc: eve@example.com\r\n\r\nboo", "text": "x\r\n.\r\nMAIL FROM:<eve@example.com>\r\n"},
        headers={"X-A\r\nBcc": "eve@example.com", "X-B": "b\r\nBcc: eve@example.com", "Bcc": "eve@example.com"},
    )
    assert outcome.accepted
    assert [line.split(":")[0] for line in server.commands] == [
        "EHLO " + server.commands[0][5:],
        "MAIL FROM",
        "RCPT TO",
        "DATA",
        "QUIT",
    ]
    ((to, content),) = server.mails
    mail = email.message_from_bytes(content, policy=email.policy.default)
    assert (to, mail["To"], mail["Bcc"]) == ("ada@example.com", "ada@example.com", None)
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", content)


@pytest.mark.parametrize(
    "address", ["", "ada", "@example.com", "a@", "a b@c.d", "a@b.c>\r\nRCPT TO:<eve@x", "<a@b.c>", "a@b.c, d@e.f"]
)
async def test_an_address_that_is_none_is_found_before_any_connection(address: str) -> None:
    outcome = await one(smtp(free_port()), address=address)
    assert (outcome.kind, outcome.code) == (OutcomeKind.BAD_ADDRESS, "invalid_address")


async def test_an_international_domain_is_written_in_ascii() -> None:
    server = PlainServer()
    await against(server, address="ada@bücher.example")
    assert server.mails[0][0] == "ada@xn--bcher-kva.example"


async def test_an_address_that_needs_smtputf8_is_left_to_the_next_provider() -> None:
    outcome = await one(smtp(free_port()), address="žluťoučký@example.com")
    assert (outcome.kind, outcome.code) == (OutcomeKind.REFUSED, "smtputf8")


@pytest.mark.parametrize(
    "parts",
    [
        {"text": "no subject"},
        {"subject": "no text"},
        {"subject": " ", "text": "x"},
        {"subject": "s", "text": "x" * 11_000_000},
    ],
)
async def test_a_mail_that_breaks_the_limits_is_found_before_any_connection(parts: dict[str, str]) -> None:
    outcome = await one(smtp(free_port()), parts=parts)
    assert (outcome.kind, outcome.code) == (OutcomeKind.REFUSED, "payload_invalid")


# --- many ---


async def test_300_mails_at_once_arrive_once_each_over_few_connections() -> None:
    server = PlainServer()
    async with server.running(), opened(server.port) as provider:
        outcomes = await sent(provider, [message(n) for n in range(300)])
    assert all(outcome.accepted for outcome in outcomes)
    assert sorted(to for to, _ in server.mails) == sorted(message(n).address for n in range(300))
    assert server.most_open <= CONNECTIONS


async def test_all_batches_of_a_provider_share_its_connections() -> None:
    server = PlainServer()
    async with server.running(), opened(server.port) as provider:
        batches = [[message(b * 40 + n) for n in range(40)] for b in range(5)]
        outcomes = await asyncio.gather(*(sent(provider, batch) for batch in batches))
    assert all(outcome.accepted for batch in outcomes for outcome in batch)
    assert server.most_open <= CONNECTIONS


async def test_each_outcome_is_reported_as_it_comes_and_not_at_the_end() -> None:
    server = PlainServer()
    second_may_end, reported = asyncio.Event(), asyncio.Queue[Id]()
    held = server._say

    async with server.running(), opened(server.port) as provider:
        # Given a server that keeps the second recipient waiting
        def say(writer: asyncio.StreamWriter, verb: str) -> str:
            if verb == "RCPT" and "ada2@" in server.commands[-1]:
                waiting.append(asyncio.create_task(later(writer)))
                return ""
            return held(writer, verb)

        async def later(writer: asyncio.StreamWriter) -> None:
            await second_may_end.wait()
            writer.write(b"250 ok\r\n")

        waiting: list[asyncio.Task[None]] = []
        server._say = say  # type: ignore[method-assign]
        task = asyncio.create_task(
            deliver(provider, [message(1), message(2)], NOW, lambda d, _: reported.put_nowait(d))
        )
        # When the first is through
        assert await reported.get() == message(1).delivery_id
        # Then it was told, and the second is still on its way
        assert not task.done()
        second_may_end.set()
        assert await reported.get() == message(2).delivery_id
        await task


async def test_a_connection_is_used_again_and_given_up_after_its_share() -> None:
    server = PlainServer()
    async with server.running(), opened(server.port) as provider:
        for number in range(MESSAGES_PER_CONNECTION + 1):
            assert (await one(provider, number=number)).accepted
    assert server.connections == 2


async def test_a_connection_that_was_unused_for_long_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clarion.deliveries.providers.smtp.IDLE_SECONDS", 0)
    server = PlainServer()
    async with server.running(), opened(server.port) as provider:
        for number in range(3):
            assert (await one(provider, number=number)).accepted
    assert server.connections == 3


async def test_a_kept_connection_that_the_server_closed_costs_nothing() -> None:
    server = PlainServer()
    server.closes_after = 1
    async with server.running(), opened(server.port) as provider:
        outcomes = [await one(provider, number=number) for number in range(5)]
        outcomes += await sent(provider, [message(n) for n in range(5, 50)])
    assert all(outcome.accepted for outcome in outcomes)
    assert len(server.mails) == 50


async def test_a_server_that_wants_the_connection_to_end_is_obeyed_without_loss() -> None:
    server = PlainServer()
    server.again["MAIL"] = ["250 ok", "421 4.7.0 too many messages on this connection"]
    async with server.running(), opened(server.port) as provider:
        assert (await one(provider, number=1)).accepted
        assert (await one(provider, number=2)).accepted
    assert server.connections == 2


async def test_a_server_that_takes_few_connections_gets_all_mail_over_these() -> None:
    server = PlainServer(CONNECT="421 too many connections")
    server.again["CONNECT"] = ["220 hello", "220 hello"]
    async with server.running(), opened(server.port) as provider:
        outcomes = await sent(provider, [message(n) for n in range(100)])
    assert all(outcome.accepted for outcome in outcomes)
    assert len(server.mails) == 100


async def test_cancelled_in_the_middle_a_connection_is_not_used_again() -> None:
    server = PlainServer()
    async with server.running(), opened(server.port) as provider:
        began = asyncio.Event()
        plain = server._say

        def say(writer: asyncio.StreamWriter, verb: str) -> str:
            if verb == "RCPT" and not began.is_set():
                began.set()
                return "250"  # and says nothing
            return plain(writer, verb)

        server._say = say  # type: ignore[method-assign]
        task = asyncio.create_task(sent(provider, [message(1)]))
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await one(provider, number=2)).accepted
    assert server.connections == 2
    assert [to for to, _ in server.mails] == ["ada2@example.com"]


async def test_when_a_lease_ends_between_two_mails_of_a_connection_the_second_stays() -> None:
    with SmtpSink() as sink:
        # Given a lease that ends when fifty have arrived
        send_under(lambda: len(sink.mails) < 50)
        async with opened(sink.port) as provider:
            outcomes = await sent(provider, [message(n) for n in range(200)])
        # Then those that were on their way have arrived, and nobody says of the others that we tried them
        assert 50 <= len(sink.mails) <= 50 + CONNECTIONS
        assert outcomes.count(NOT_OURS) == 200 - len(sink.mails)
        assert sum(outcome.accepted for outcome in outcomes) == len(sink.mails)


# --- what replies mean ---


@pytest.mark.parametrize(
    "verb,reply,kind",
    [
        ("CONNECT", "421 busy", OutcomeKind.TRANSIENT),
        ("CONNECT", "554 no service for you", OutcomeKind.MISCONFIGURED),
        ("CONNECT", "521 no mail here", OutcomeKind.MISCONFIGURED),
        ("CONNECT", "SSH-2.0-OpenSSH", OutcomeKind.TRANSIENT),
        ("MAIL", "421 closing", OutcomeKind.TRANSIENT),
        ("MAIL", "451 local error", OutcomeKind.TRANSIENT),
        ("MAIL", "452 full", OutcomeKind.TRANSIENT),
        ("MAIL", "454 Throttling failure: Maximum sending rate exceeded.", OutcomeKind.THROTTLED),
        ("MAIL", "454 Throttling failure: Daily message quota exceeded.", OutcomeKind.THROTTLED),
        ("MAIL", "454 4.7.0 TLS not available", OutcomeKind.TRANSIENT),
        ("MAIL", "530 5.7.0 Authentication required", OutcomeKind.MISCONFIGURED),
        ("MAIL", "550 5.1.8 Sender's domain not found", OutcomeKind.MISCONFIGURED),
        ("MAIL", "553 sender not allowed", OutcomeKind.MISCONFIGURED),
        ("MAIL", "552 5.3.4 Message too big", OutcomeKind.REFUSED),
        ("RCPT", "450 4.2.1 mailbox busy", OutcomeKind.TRANSIENT),
        ("RCPT", "451 4.7.1 Greylisted", OutcomeKind.TRANSIENT),
        ("RCPT", "452 4.2.2 mailbox full", OutcomeKind.TRANSIENT),
        ("RCPT", "421 4.7.28 unusual rate of mail", OutcomeKind.THROTTLED),
        ("RCPT", "550 no such user", OutcomeKind.BAD_ADDRESS),
        ("RCPT", "550 5.1.1 <ada@example.com>: user unknown", OutcomeKind.BAD_ADDRESS),
        ("RCPT", "501 5.1.3 bad syntax", OutcomeKind.BAD_ADDRESS),
        ("RCPT", "551 not local", OutcomeKind.BAD_ADDRESS),
        ("RCPT", "553 5.1.3 mailbox name", OutcomeKind.BAD_ADDRESS),
        ("RCPT", "556 5.1.10 null MX", OutcomeKind.BAD_ADDRESS),
        ("RCPT", "550 5.7.1 Relaying denied", OutcomeKind.REFUSED),
        ("RCPT", "552 5.2.2 over quota", OutcomeKind.REFUSED),
        ("RCPT", "554 5.7.1 rejected as spam", OutcomeKind.REFUSED),
        ("DATA", "451 try later", OutcomeKind.TRANSIENT),
        ("DATA", "554 no valid recipients", OutcomeKind.REFUSED),
        ("DOT", "451 4.3.0 queue error", OutcomeKind.TRANSIENT),
        ("DOT", "421 closing", OutcomeKind.TRANSIENT),
        ("DOT", "550 5.7.1 content rejected", OutcomeKind.REFUSED),
        ("DOT", "552 too big", OutcomeKind.REFUSED),
        ("DOT", "554 Message rejected: Email address is not verified.", OutcomeKind.MISCONFIGURED),
        ("DOT", "554 5.6.0 bad content", OutcomeKind.REFUSED),
        ("DOT", "550 5.1.1 nobody of that name", OutcomeKind.BAD_ADDRESS),
    ],
)  # fmt: skip
async def test_what_a_reply_means(verb: str, reply: str, kind: OutcomeKind) -> None:
    outcome = await against(PlainServer(**{verb: reply}))
    assert outcome.kind is kind
    assert "ada@" not in repr(outcome)


@pytest.mark.parametrize("phase", ["connect", "auth", "mail", "rcpt", "data"])
def test_every_reply_code_has_a_meaning_and_none_is_uncertain(phase: Phase) -> None:
    for code in range(400, 600):
        kind = meaning(phase, Reply(code, ""))
        assert kind not in (OutcomeKind.UNCERTAIN, OutcomeKind.ACCEPTED)
        if code < 500 and code != 432:
            assert kind is OutcomeKind.TRANSIENT
        if code >= 500:
            assert kind is not OutcomeKind.TRANSIENT


async def test_after_a_refusal_the_connection_goes_on_with_the_next() -> None:
    server = PlainServer()
    server.again["RCPT"] = ["550 5.1.1 nobody"]
    async with server.running(), opened(server.port) as provider:
        assert (await one(provider, number=1)).kind is OutcomeKind.BAD_ADDRESS
        assert (await one(provider, number=2)).accepted
    assert server.connections == 1
    assert "RSET" in server.commands


async def test_the_size_is_told_to_a_server_that_asks_for_it() -> None:
    server = PlainServer()
    server.extensions = ["SIZE 1000000"]
    await against(server)
    (told,) = [line for line in server.commands if line.startswith("MAIL")]
    assert int(told.rpartition("SIZE=")[2]) == len(server.mails[0][1])


async def test_a_server_that_knows_no_ehlo_is_greeted_with_helo() -> None:
    server = PlainServer()
    server.knows_ehlo = False
    assert (await against(server)).accepted
    assert [line[:4] for line in server.commands[:2]] == ["EHLO", "HELO"]


async def test_the_servers_own_id_of_the_mail_is_kept() -> None:
    assert (await against(PlainServer(DOT="250 2.0.0 Ok: queued as 4Xf2kq1rYz"))).reference == "4Xf2kq1rYz"
    assert (await against(PlainServer(DOT="250 Ok 010001914f7a2b3c-1a2b"))).reference == "010001914f7a2b3c-1a2b"
    assert (await against(PlainServer(DOT="250 kept"))).reference is None


# --- what is lost ---


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA"])
async def test_a_connection_lost_before_the_mail_is_transient(verb: str) -> None:
    outcome = await against(PlainServer(**{verb: ""}))
    assert (outcome.kind, outcome.code) == (OutcomeKind.TRANSIENT, "connection_lost")


async def test_a_connection_lost_in_the_middle_of_a_long_mail_is_transient() -> None:
    server = PlainServer()
    server.read_of_mail = 1_000
    outcome = await against(server, parts={"subject": "long", "text": "0123456789\n" * 900_000})
    assert (outcome.kind, outcome.code) == (OutcomeKind.TRANSIENT, "connection_lost")


async def test_a_connection_lost_after_the_final_dot_is_uncertain() -> None:
    outcome = await against(PlainServer(DOT=""))
    assert (outcome.kind, outcome.code) == (OutcomeKind.UNCERTAIN, "connection_lost")


async def test_an_answer_to_the_final_dot_that_is_none_is_uncertain() -> None:
    assert (await against(PlainServer(DOT="what?"))).kind is OutcomeKind.UNCERTAIN


async def test_silence_after_the_final_dot_is_uncertain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clarion.deliveries.providers.smtp.DATA_SECONDS", 0.05)
    server = PlainServer()
    plain = server._say
    server._say = lambda writer, verb: "2" if verb == "DOT" else plain(writer, verb)  # type: ignore[method-assign]
    outcome = await against(server)
    assert (outcome.kind, outcome.code) == (OutcomeKind.UNCERTAIN, "answer_timeout")


async def test_silence_before_the_mail_is_transient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clarion.deliveries.providers.smtp.COMMAND_SECONDS", 0.05)
    server = PlainServer()
    plain = server._say
    server._say = lambda writer, verb: "2" if verb == "RCPT" else plain(writer, verb)  # type: ignore[method-assign]
    outcome = await against(server)
    assert (outcome.kind, outcome.code) == (OutcomeKind.TRANSIENT, "answer_timeout")


async def test_a_server_that_is_not_there_answers_the_whole_batch_at_once() -> None:
    outcomes = await sent(smtp(free_port()), [message(n) for n in range(300)])
    assert {(outcome.kind, outcome.code) for outcome in outcomes} == {(OutcomeKind.TRANSIENT, "connect_refused")}


async def test_a_host_without_a_name_is_transient() -> None:
    outcome = await one(smtp(25, host="no-such-host.invalid"))
    assert (outcome.kind, outcome.code) == (OutcomeKind.TRANSIENT, "dns")


async def test_a_server_that_takes_no_connection_is_transient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clarion.deliveries.providers.smtp.CONNECT_SECONDS", 0.1)
    with deaf_port() as port:
        outcomes = await sent(smtp(port), [message(n) for n in range(50)])
    assert {(outcome.kind, outcome.code) for outcome in outcomes} == {(OutcomeKind.TRANSIENT, "connect_timeout")}
