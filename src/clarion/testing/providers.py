"""What every provider must do: subclass `HttpProviderContract` or `SendProviderContract` and give it a `sample`.

    class TestAcme(HttpProviderContract):
        sample = Sample(config=ProviderConfig(name="acme", kind="acme", ...), message=..., ...)

The suites need pytest with pytest-asyncio in auto mode. They use no network; what a provider does with a real server is
for its own tests. `kinds_without_contract` tells which kinds on offer no suite holds to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, ClassVar

import msgspec
import pytest
from structlog.testing import capture_logs

from clarion.clock import from_rfc3339
from clarion.deliveries.carry import CRASHED, deliver
from clarion.deliveries.interface import (
    PAYLOAD_INVALID,
    BadSignature,
    Callback,
    Http,
    HttpProvider,
    HttpRequest,
    HttpResponse,
    Provider,
    ProviderConfig,
    SendProvider,
    Services,
    Unsupported,
)
from clarion.deliveries.lease import NOT_OURS, may_leave
from clarion.deliveries.providers import available_kinds, build
from clarion.model.delivery import Message, Outcome, Receipt, failed
from clarion.model.errors import Invalid, Misconfigured
from clarion.model.ids import Id
from clarion.model.words import ContactKind, OutcomeKind

NOW = from_rfc3339("2027-03-01T12:00:00Z")
IN_TWO_MINUTES = "Mon, 01 Mar 2027 12:02:00 GMT"

#: Bodies that no documentation promises, and that some proxy sends some day.
NONSENSE = (
    b"",
    b"null",
    b"{}",
    b"[]",
    b'"text"',
    b"17",
    b'{"error"',
    b'{"error": null, "errors": null, "message": null, "id": null}',
    b'{"error": [], "errors": {}, "message": 5, "id": {}}',
    b'{"error": {"code": [], "details": "x"}, "errors": [null, 1, "x", []]}',
    b"<html><body>502 Bad Gateway</body></html>",
    b"\xff\xfe\x00",
    b"[" * 10_000,
)


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """What a suite needs to know of a provider."""

    config: ProviderConfig  #: complete, with values in place of `env:` names
    message: Message  #: one that it sends
    oversized: Message | None  #: one that breaks its declared limits; None: it has none that a message could break
    secrets: tuple[str, ...] = ()  #: texts in `config` that must show nowhere
    answers: tuple[tuple[HttpResponse, Outcome], ...] = ()  #: over HTTP: real answers, and what they mean


class StubHttp:
    """An HTTP client that answers as told and keeps the requests. Like the real one, it sends under a lease only."""

    def __init__(self, answer: HttpResponse | Outcome | Callable[[HttpRequest], HttpResponse | Outcome]) -> None:
        self.answer, self.requests = answer, list[HttpRequest]()

    async def call(self, request: HttpRequest) -> HttpResponse | Outcome:
        if not may_leave():
            return NOT_OURS
        self.requests.append(request)
        return self.answer(request) if callable(self.answer) else self.answer


def no_io(request: HttpRequest) -> HttpResponse:
    """Fails the test: nothing should have been sent."""
    raise AssertionError("a request was made")


async def no_store(messages: Sequence[Message], now: int) -> None:
    """Takes everything and keeps nothing."""


def services(http: Http | None = None) -> Services:
    """What a provider may ask for, without a network or a storage."""
    return Services(
        http=http or StubHttp(no_io),
        store_inbox=no_store,
        store_outbox=no_store,
        callback_url=lambda name: f"https://clarion.example/v1/callbacks/{name}",
    )


async def outcomes_of(provider: Provider, messages: Sequence[Message], now: int = NOW) -> dict[Id, Outcome]:
    """Delivers the messages; fails if one is reported twice."""
    reported: dict[Id, Outcome] = {}

    def report(delivery: Id, outcome: Outcome) -> None:
        assert delivery not in reported, "an outcome was reported twice"
        reported[delivery] = outcome

    await deliver(provider, messages, now, report)
    return reported


def kinds_without_contract(contracts: Iterable[type[ProviderContract]]) -> set[str]:
    """The kinds on offer that none of these suites holds to its contract."""
    return set(available_kinds()) - {contract.sample.config.kind for contract in contracts}


class ProviderContract:
    """What both sorts of providers must do."""

    sample: ClassVar[Sample]

    def build(self, http: StubHttp | None = None, **changes: Any) -> Provider:
        return build(msgspec.structs.replace(self.sample.config, **changes), services(http), {})

    def assert_silent(self, *shown: object) -> None:
        """Fails if an address or a secret is in what is shown."""
        text = " ".join(f"{one!r} {one}" for one in shown)
        for hidden in (*self.sample.secrets, self.sample.message.address):
            assert not hidden or hidden not in text, "an address or a secret is shown"

    def test_it_is_what_the_settings_ask_for(self) -> None:
        provider = self.build()
        config = self.sample.config
        assert (provider.name, provider.kind, provider.channel) == (config.name, config.kind, config.channel)
        assert isinstance(provider, HttpProvider | SendProvider)
        assert provider.max_in_flight > 0
        assert provider.limits.batch > 0

    def test_its_channel_must_be_one_that_it_carries(self) -> None:
        for channel in set(type(self.sample.config.channel)) - self.build().channels:
            with pytest.raises(Misconfigured, match=f"doesn't carry the channel {channel}"):
                self.build(channel=channel)

    def test_an_unknown_config_key_is_named_with_its_provider_and_the_known_ones(self) -> None:
        with pytest.raises(Misconfigured) as caught:
            self.build(config={**self.sample.config.config, "nonsense": "hush"})
        said = str(caught.value)
        assert repr(self.sample.config.name) in said
        assert "'nonsense'" in said
        assert all(key in said for key in self.sample.config.config)
        assert "hush" not in said
        self.assert_silent(caught.value)

    def test_every_text_may_come_from_the_environment(self) -> None:
        for key, value in self.sample.config.config.items():
            if isinstance(value, str):
                config = {**self.sample.config.config, key: "env:CLARION_CONTRACT"}
                with pytest.raises(Misconfigured, match=f"{key} .*CLARION_CONTRACT") as caught:
                    self.build(config=config)
                self.assert_silent(caught.value)
                wanted = msgspec.structs.replace(self.sample.config, config=config)
                build(wanted, services(), {"CLARION_CONTRACT": value})

    def test_a_value_of_the_wrong_kind_is_named_and_not_shown(self) -> None:
        for key in self.sample.config.config:
            with pytest.raises(Misconfigured, match=key) as caught:
                self.build(config={**self.sample.config.config, key: {"wrong": "hush"}})
            assert "hush" not in str(caught.value)
            self.assert_silent(caught.value)

    def test_no_secret_shows_in_what_is_printed(self) -> None:
        assert all(secret in repr(self.sample.config.config) for secret in self.sample.secrets)
        self.assert_silent(self.build(), self.sample.config)

    def sealed(self, monkeypatch: pytest.MonkeyPatch) -> Provider:
        """The provider, made so that it can't send."""
        provider = self.build()
        if isinstance(provider, SendProvider):
            monkeypatch.setattr(provider, "send", no_io)
        return provider

    async def test_what_breaks_its_limits_is_refused_before_any_io(self, monkeypatch: pytest.MonkeyPatch) -> None:
        if (oversized := self.sample.oversized) is None:
            pytest.skip("no message can break its limits")
        outcome = (await outcomes_of(self.sealed(monkeypatch), [oversized]))[oversized.delivery_id]
        assert (outcome.kind, outcome.code) == (OutcomeKind.REFUSED, PAYLOAD_INVALID)
        assert outcome.detail
        self.assert_silent(outcome)

    async def test_a_part_that_it_needs_is_asked_for_before_any_io(self, monkeypatch: pytest.MonkeyPatch) -> None:
        provider = self.sealed(monkeypatch)
        for group in provider.limits.required:
            parts = {part: text for part, text in self.sample.message.parts.items() if part not in group}
            lacking = msgspec.structs.replace(self.sample.message, parts=parts)
            outcome = (await outcomes_of(provider, [lacking]))[lacking.delivery_id]
            assert (outcome.kind, outcome.code) == (OutcomeKind.REFUSED, PAYLOAD_INVALID)

    async def test_a_contact_point_that_it_cannot_reach_is_refused_before_any_io(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        provider = self.sealed(monkeypatch)
        for kind in set(ContactKind) - provider.kinds if provider.kinds else ():
            strange = msgspec.structs.replace(self.sample.message, kind=kind)
            assert (await outcomes_of(provider, [strange]))[strange.delivery_id].kind is OutcomeKind.REFUSED

    def test_a_callback_that_it_does_not_know_is_said_to_be_unsupported_or_unsigned(self) -> None:
        nonsense = Callback(headers={}, body=b"{}", url="https://clarion.test/v1/callbacks/x", now=NOW)
        with pytest.raises((Unsupported, BadSignature)):
            self.build().receipts_in(nonsense)

    def test_nonsense_in_a_callback_is_refused_and_never_a_crash(self) -> None:
        provider = self.build()
        headers = ("content-type", "authorization", "x-twilio-signature", "svix-id", "svix-timestamp", "svix-signature")
        for body in NONSENSE:
            for value in ("", "application/json", "application/x-www-form-urlencoded", "\udcff", "x" * 5_000):
                for query in ("", "?delivery=dlv_x&%", "?a=" + "b" * 5_000):
                    url = f"https://clarion.test/v1/callbacks/x{query}"
                    callback = Callback(headers=dict.fromkeys(headers, value), body=body, url=url, now=NOW)
                    with suppress(Invalid):
                        assert all(isinstance(one, Receipt) for one in provider.receipts_in(callback))

    async def test_it_can_be_closed_without_having_been_used(self) -> None:
        await self.build().aclose()


class HttpProviderContract(ProviderContract):
    """What a provider over HTTP must do besides."""

    def http(self, answer: Any = no_io, **changes: Any) -> HttpProvider:
        provider = self.build(StubHttp(answer), **changes)
        assert isinstance(provider, HttpProvider)
        return provider

    async def outcome(self, answer: HttpResponse | Outcome, provider: HttpProvider | None = None) -> Outcome:
        """What an answer comes to on the way that every delivery takes."""
        delivered = await outcomes_of(provider or self.http(answer), [self.sample.message])
        return delivered[self.sample.message.delivery_id]

    def statuses(self) -> Iterator[HttpResponse]:
        """Every status with every nonsense."""
        for status in range(200, 600):
            for body in NONSENSE:
                yield HttpResponse(status=status, body=body, at=NOW)

    def test_a_request_comes_out_the_same_for_the_same_message_and_instant(self) -> None:
        message = self.sample.message
        provider = self.http()
        first, second = provider.request_for(message, NOW), provider.request_for(message, NOW)
        assert msgspec.structs.asdict(first) == msgspec.structs.asdict(second)
        assert first.url.startswith(("https://", "http://"))
        assert len(first.body) <= provider.limits.max_body_bytes
        assert not any(end in text for pair in first.headers.items() for text in pair for end in "\r\n")

    def test_a_base_url_stands_for_scheme_and_host_and_is_the_operators_own(self) -> None:
        request = self.http(base_url="http://127.0.0.1:9").request_for(self.sample.message, NOW)
        assert request.url.startswith("http://127.0.0.1:9/")
        assert request.guard is None

    def test_any_text_makes_a_request(self) -> None:
        for text in ("", "\x00\x1f\x7f", "\r\nX-Evil: 1", "'\"\\<>&%s{}", "𝔘𝔫𝔦\u202e\u2028", "x" * 100):
            parts = dict.fromkeys(self.sample.message.parts, text)
            request = self.http().request_for(msgspec.structs.replace(self.sample.message, parts=parts), NOW)
            assert not any("\n" in value for value in request.headers.values())

    def test_no_field_breaks_out_of_the_header_or_url_that_it_is_put_into(self) -> None:
        said = ("recipient", "workflow", "category", "event_type", "locale")
        for end in ("\r\n", "\n", "\r", "\0", "\x85", "\u2028"):
            evil = f"a{end}X-Evil: 1"
            parts = dict.fromkeys(self.sample.message.parts, evil)
            headers = {"X-Campaign": evil}
            fields = {**dict.fromkeys(said, evil), "parts": parts, "headers": headers, "tags": (evil,)}
            message = msgspec.structs.replace(self.sample.message, **fields)
            provider = self.http()
            if provider.check(message) is not None:
                continue
            request = provider.request_for(message, NOW)
            for shown in (request.url, *request.headers, *request.headers.values()):
                assert shown.isprintable(), f"a field breaks out with {end!r}"

    async def test_real_answers_mean_what_the_documentation_says(self) -> None:
        assert any(outcome.accepted for _, outcome in self.sample.answers), "the sample holds no answer that accepts"
        for answer, expected in self.sample.answers:
            assert await self.outcome(answer) == expected

    async def test_every_status_with_any_body_has_a_meaning(self) -> None:
        provider = self.http()
        for answer in self.statuses():
            outcome = provider.outcome_of(answer, self.sample.message)
            where = f"{answer.status} with {answer.body[:40]!r} came to {outcome.kind}"
            assert outcome.kind is not OutcomeKind.UNCERTAIN, f"{where}: a complete answer is never uncertain"
            if answer.status >= 300:
                assert not outcome.accepted, where
                assert outcome.code, where
            if answer.status >= 500:
                assert outcome.kind in (OutcomeKind.TRANSIENT, OutcomeKind.THROTTLED), where
            if answer.status == 429:
                assert outcome.kind is OutcomeKind.THROTTLED, where
            self.assert_silent(outcome)

    @pytest.mark.parametrize("status", [429, 503])
    async def test_a_retry_after_is_read_in_both_forms(self, status: int) -> None:
        for value, wait in (("120", 120_000), (IN_TWO_MINUTES, 120_000), ("soon", None), ("-1", None), ("", None)):
            answer = HttpResponse(status=status, headers={"retry-after": value}, at=NOW)
            assert (await self.outcome(answer)).retry_after == wait, value

    async def test_an_answer_that_echoes_addresses_and_secrets_is_not_repeated(self) -> None:
        hidden = [*self.sample.secrets, self.sample.message.address]
        echo = msgspec.json.encode({"error": hidden, "message": " ".join(hidden), "errors": [{"message": str(hidden)}]})
        for status in range(200, 600):
            self.assert_silent(await self.outcome(HttpResponse(status=status, body=echo, headers={"x": str(hidden)})))

    @pytest.mark.parametrize("kind", [OutcomeKind.TRANSIENT, OutcomeKind.UNCERTAIN, OutcomeKind.BAD_ADDRESS])
    async def test_a_fault_of_the_network_is_passed_on(self, kind: OutcomeKind) -> None:
        fault = failed(kind, "connection_lost")
        assert await self.outcome(fault) == fault

    async def test_a_crash_is_an_outcome_and_its_log_holds_no_secret(self, monkeypatch: pytest.MonkeyPatch) -> None:
        said = f"{self.sample.message.address} {self.sample.secrets}"

        def crash(*_: object) -> Any:
            raise RuntimeError(said)

        for method, kind in (("request_for", OutcomeKind.TRANSIENT), ("outcome_of", OutcomeKind.UNCERTAIN)):
            provider = self.http(HttpResponse(status=200))
            monkeypatch.setattr(provider, method, crash)
            with capture_logs() as logs:
                outcome = await self.outcome(HttpResponse(status=200), provider)
            assert (outcome.kind, outcome.code) == (kind, CRASHED)
            assert logs, "a crash is logged"
            self.assert_silent(outcome, logs)


class SendProviderContract(ProviderContract):
    """What a provider that does its own I/O must do besides.

    Give it the fixtures `working` and `broken`: providers whose other side takes everything, and is gone.
    """

    def many(self, count: int) -> list[Message]:
        """Copies of the sample with ids of their own."""
        ids = (self.sample.message.delivery_id[:12] + n.to_bytes(4, "big") for n in range(count))
        return [msgspec.structs.replace(self.sample.message, delivery_id=one) for one in ids]

    async def test_each_message_is_accepted_and_reported_once(self, working: Provider) -> None:
        messages = self.many(max(25, working.limits.batch + 1))
        outcomes = await outcomes_of(working, messages)
        assert set(outcomes) == {message.delivery_id for message in messages}
        assert all(outcome.accepted for outcome in outcomes.values())

    async def test_no_messages_are_no_work(self, broken: Provider) -> None:
        assert await outcomes_of(broken, []) == {}

    async def test_without_its_other_side_every_message_waits_for_another_try(self, broken: Provider) -> None:
        messages = self.many(25)
        with capture_logs() as logs:
            outcomes = await outcomes_of(broken, messages)
        assert {outcome.kind for outcome in outcomes.values()} == {OutcomeKind.TRANSIENT}
        assert len(outcomes) == 25
        assert all(outcome.code for outcome in outcomes.values())
        self.assert_silent(*outcomes.values(), logs)

    async def test_a_crash_is_uncertain_and_its_log_holds_no_secret(
        self, working: Provider, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def crash(*_: object) -> None:
            raise RuntimeError(f"{self.sample.message.address} {self.sample.secrets}")

        monkeypatch.setattr(working, "send", crash)
        with capture_logs() as logs:
            outcomes = await outcomes_of(working, self.many(3))
        assert {(outcome.kind, outcome.code) for outcome in outcomes.values()} == {(OutcomeKind.UNCERTAIN, CRASHED)}
        assert logs
        self.assert_silent(*outcomes.values(), logs)
