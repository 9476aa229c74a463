"""Providers that turn bad: traffic leaves them, and comes back with them, over real HTTP servers and all stores."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from clarion.clock import SECOND, SystemClock
from clarion.deliveries.health import ProviderState, demoted
from clarion.deliveries.http import HttpClient
from clarion.deliveries.interface import (
    HttpProvider,
    HttpRequest,
    HttpResponse,
    Limits,
    ProviderConfig,
    Services,
)
from clarion.engine import work
from clarion.limits.interface import Health
from clarion.model.delivery import Message, Outcome, accepted, failed
from clarion.model.words import Channel, OutcomeKind
from tests.composed import Installation, Scripted, compose, moving, working
from tests.deliveries.tcp import listening

MAIL = {"channel": "email", "subject": "{{ event.data.n }}", "text": "for {{ recipient.id }}"}
SETTINGS = {
    "CLARION_CHAIN_POLICY__MIN_SAMPLES": "10",
    "CLARION_CHAIN_POLICY__PROBE_INTERVAL_SECONDS": "0.1",
}


class Server:
    """A mail API that answers as `mood` says: well, bad (500), reset or hang."""

    def __init__(self) -> None:
        self.mood = "well"
        self.calls = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]))
            self.calls += 1
            if self.mood == "reset":
                return
            if self.mood == "hang":
                await asyncio.sleep(60)
            status = b"200 OK" if self.mood == "well" else b"500 Broken"
            writer.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\n\r\n")
            await writer.drain()


class Api(HttpProvider):
    """Speaks to a `Server`."""

    channels = frozenset({Channel.EMAIL})
    limits = Limits(max_body_bytes=10_000)
    patience = 15 * SECOND

    def request_for(self, message: Message, now: int) -> HttpRequest:
        return HttpRequest(url=f"{self.base_url}/send", body=message.delivery_id, timeout=self.patience)

    def outcome_of(self, response: HttpResponse, message: Message) -> Outcome:
        return accepted() if response.status == 200 else failed(OutcomeKind.TRANSIENT, str(response.status))


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "TEND", 0.1)


@asynccontextmanager
async def over_http(folder: Path, environment: Mapping[str, str], **servers: Server) -> AsyncIterator[Installation]:
    """An installation whose providers are these servers, in this order; it knows 30 people."""
    async with AsyncExitStack() as stack:
        http = HttpClient(SystemClock())
        stack.push_async_callback(http.aclose)
        providers: dict[str, Any] = {}
        for name, server in servers.items():
            port = await stack.enter_async_context(listening(server.handle))
            config = ProviderConfig(name=name, kind="api", channel=Channel.EMAIL, base_url=f"http://127.0.0.1:{port}")
            providers[name] = Api(config, Services(http=http))
        environment = {**environment, **SETTINGS}
        clarion = await stack.enter_async_context(working(folder, environment, scripted=providers))
        await clarion.people(*(f"p{n:02}" for n in range(30)))
        await clarion.workflow("note", MAIL, preferences={"email": {"max_per_hour": 1000, "max_per_day": 1000}})
        yield clarion


async def tell_all(clarion: Installation, people: int = 30) -> set[str]:
    """Tells people something, and by whom it was sent in the end."""
    event = await clarion.event("note", recipients=[f"p{n:02}" for n in range(people)], data={"n": 1})
    found = [d for n in await clarion.settled(event) for d in n["deliveries"]]
    assert {d["state"] for d in found} == {"sent"}, found
    return {d["provider"] for d in found}


async def states(clarion: Installation) -> dict[str, str]:
    return {p["name"]: p["state"] for p in await clarion.clarion.standing() if p["channel"] == "email"}


def becomes(clarion: Installation, name: str, state: str) -> Callable[[], Any]:
    async def it_is() -> bool:
        return (await states(clarion))[name] == state

    return it_is


async def switches(clarion: Installation) -> list[tuple[str, int]]:
    rows = await clarion.rows(
        "SELECT kind, project FROM facts_operational WHERE kind IN :kinds ORDER BY xid, position",
        kinds=("ProviderDemoted", "ProviderRestored"),
    )
    return [(r["kind"], r["project"]) for r in rows]


async def test_traffic_leaves_a_provider_that_turned_bad_and_comes_back_with_it(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    first, second = Server(), Server()
    async with over_http(tmp_path, environment, first=first, second=second) as clarion:
        # Given a provider that carries the mail
        assert await tell_all(clarion) == {"first"}

        # When it turns bad
        first.mood = "bad"
        assert await tell_all(clarion) <= {"first", "second"}
        await clarion.until(becomes(clarion, "first", "demoted"))

        # Then traffic goes to the other one, and few probes ask whether it is well again
        assert await tell_all(clarion) == {"second"}
        assert (await states(clarion))["second"] == "healthy"
        assert await switches(clarion) == [("ProviderDemoted", 0)]

        # When it is well again
        first.mood = "well"
        while (await states(clarion))["first"] != "healthy":
            await tell_all(clarion, 3)

        # Then it carries the mail again, counted anew, and both switches are facts
        assert await tell_all(clarion) == {"first"}
        assert (await states(clarion)) == {"first": "healthy", "second": "healthy"}
        assert await switches(clarion) == [("ProviderDemoted", 0), ("ProviderRestored", 0)]


@pytest.mark.parametrize("mood", ["reset", "hang"])
async def test_one_that_resets_or_hangs_is_left_too(
    tmp_path: Path, migrated_sqlite_url: str, mood: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Api, "patience", SECOND)
    first, second = Server(), Server()
    first.mood = mood
    async with over_http(
        tmp_path, {"CLARION_DATABASE_URL": migrated_sqlite_url}, first=first, second=second
    ) as clarion:
        assert await tell_all(clarion) <= {"first", "second"}
        await clarion.until(becomes(clarion, "first", "demoted"))
        calls = second.calls
        await tell_all(clarion)
        assert second.calls >= calls + 30


async def test_what_waits_for_a_demoted_provider_moves_on_with_its_retries(tmp_path: Path, migrated_url: str) -> None:
    # Given mail that waits a minute for its next try
    slow = failed(OutcomeKind.TRANSIENT, "503", retry_after=59_000)
    providers = {name: Scripted(name) for name in ("first", "second")}
    providers["first"].answer = lambda _m: slow
    environment = {"CLARION_DATABASE_URL": migrated_url, **SETTINGS}
    async with working(tmp_path, environment, scripted=providers) as clarion:
        people = [f"p{n:02}" for n in range(12)]
        await clarion.people(*people)
        await clarion.workflow("note", MAIL)
        event = await clarion.event("note", recipients=people, data={"n": 1})

        # When so many tries fail that the provider is demoted
        found = await clarion.settled(event)

        # Then nothing waits for it any more
        assert {(d["state"], d["provider"]) for n in found for d in n["deliveries"]} == {("sent", "second")}
        assert {len(d["attempts"]) for n in found for d in n["deliveries"]} == {2}


async def test_if_all_are_demoted_the_best_is_used(tmp_path: Path, migrated_sqlite_url: str) -> None:
    servers = {"first": Server(), "second": Server()}
    for server in servers.values():
        server.mood = "bad"
    async with over_http(tmp_path, {"CLARION_DATABASE_URL": migrated_sqlite_url}, **servers) as clarion:
        event = await clarion.event("note", recipients=[f"p{n:02}" for n in range(30)], data={"n": 1})
        await clarion.until(becomes(clarion, "first", "demoted"))
        await clarion.until(becomes(clarion, "second", "demoted"))
        for server in servers.values():
            server.mood = "well"
        found = [d for n in await clarion.settled(event) for d in n["deliveries"]]
        assert not any(moving(d) for d in found)
        await tell_all(clarion)


async def test_of_two_that_notice_at_once_one_switches_and_one_probes(
    tmp_path: Path, migrated_postgres_url: str
) -> None:
    # Its engine doesn't run: it would probe too.
    clarion = await compose(tmp_path, {"CLARION_DATABASE_URL": migrated_postgres_url, **SETTINGS})
    try:
        board, db, now = clarion.clarion.board, clarion.clarion.db, clarion.clarion.clock.now()
        ill = Health(1, 9)
        before = ProviderState("first")
        after = demoted(before, ill, board._policy, now - 10_000)
        await asyncio.gather(*(board._switch(before, after, ill, now) for _ in range(4)))
        assert await switches(clarion) == [("ProviderDemoted", 0)]
        probes = await asyncio.gather(*(db.write(lambda tx: board.may_probe(tx, "first", now)) for _ in range(4)))
        assert sum(probes) == 1
    finally:
        await clarion.clarion.close()


async def test_a_provider_that_says_too_fast_is_left_alone_by_everybody(
    tmp_path: Path, migrated_sqlite_url: str
) -> None:
    # Given a provider that asks for a pause
    providers = {"first": Scripted("first")}
    providers["first"].answer = lambda m: (
        failed(OutcomeKind.THROTTLED, "429", retry_after=1_500)
        if m.attempt == 1 and m.recipient == "ada"
        else accepted()
    )
    async with working(tmp_path, {"CLARION_DATABASE_URL": migrated_sqlite_url}, scripted=providers) as clarion:
        people = [f"p{n}" for n in range(20)]
        await clarion.people("ada", *people)
        await clarion.workflow("note", MAIL)
        await clarion.event("note", recipients=["ada"], data={"n": 1})

        async def paused() -> bool:
            return bool(await clarion.rows("SELECT 1 FROM provider_states WHERE paused_until > 0"))

        await clarion.until(paused)
        (row,) = await clarion.rows("SELECT paused_until FROM provider_states")

        # When there is mail for others
        event = await clarion.event("note", recipients=people, data={"n": 2})
        found = await clarion.settled(event)

        # Then it waits until the pause is over
        attempts = [a for n in found for a in n["deliveries"][0]["attempts"]]
        assert len(attempts) == 20
        assert min(a["at"] for a in attempts) >= row["paused_until"]


ROUTED = """
[[providers]]
name = "texts-us"
kind = "capture"
channel = "sms"
when = { country = ["US", "CA"] }

[[providers]]
name = "texts"
kind = "capture"
channel = "sms"

[[providers]]
name = "off"
kind = "capture"
channel = "push"
enabled = false
"""


async def test_a_number_goes_to_the_provider_of_its_country(
    tmp_path: Path, migrated_sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clarion.toml").write_text(ROUTED)
    async with working(tmp_path, {"CLARION_DATABASE_URL": migrated_sqlite_url}) as clarion:
        await clarion.workflow("code", {"channel": "sms", "body": "hello"})
        numbers = {"ada": "+14155550100", "bob": "+16135550100", "cleo": "+4915112345678", "dan": "+80012345678"}
        people = [{"id": who, "phone": number} for who, number in numbers.items()]
        found = await clarion.settled(await clarion.event("code", recipients=people))
        assert {n["recipient"]: n["deliveries"][0]["provider"] for n in found} == {
            "ada": "texts-us", "bob": "texts-us", "cleo": "texts", "dan": "texts",
        }  # fmt: skip
        standing = {p["name"]: p["state"] for p in await clarion.clarion.standing()}
        assert standing["off"] == "disabled"
