"""Both kinds of client on a real socket: retries, pages, chunks, lost connections, time-outs, forks, closing."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from clarion.client import AsyncClarion, Clarion, Event, NotFound, RateLimited, Unauthorized, Unreachable
from clarion.client.asynchronous import LET_GO
from clarion.client.exchange import Retries
from tests.client.conftest import KEY, Caller
from tests.client.stub import CUT, DROP, HANG, Say, Stub

OK = Say(202, {"id": "evt_1", "status": "accepted", "duplicate": False})


@pytest.mark.parametrize("fault", [DROP, CUT, Say(429), Say(502), Say(503), Say(504)], ids=str)
async def test_a_retried_event_carries_the_same_idempotency_key(fault: Say | str, call: Caller, stub: Stub) -> None:
    # Given a server that fails twice in some way; the first connection is known to work
    await call("send", "first", to="ada")
    stub.script.extend([fault, fault, OK])

    # When an event is sent without a key
    accepted = await call("send", "comment.created", {"n": 1}, to="ada")

    # Then it was asked until it was accepted, always with one drawn key
    asked = stub.asked[1:]
    assert accepted.id == "evt_1"
    assert len(asked) == 3
    assert all(request.body == asked[0].body for request in asked)
    assert len(asked[0].body["idempotency_key"]) == 32
    assert asked[0].body["idempotency_key"] != stub.asked[0].body["idempotency_key"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 500])
async def test_other_errors_are_raised_at_once(status: int, call: Caller, stub: Stub) -> None:
    stub.script.append(Say(status, {"code": "c", "detail": "d", "where": "w"}))

    with pytest.raises(Exception, match=r"^c: d \(at w\)$"):
        await call("send", "t", to="ada")
    assert len(stub.asked) == 1


async def test_a_server_that_stays_down_is_told_in_the_end(call: Caller, stub: Stub) -> None:
    stub.otherwise = DROP
    with pytest.raises(Unreachable, match="tries: 4"):
        await call("send", "t", to="ada")


@pytest.mark.parametrize("kind", [Clarion, AsyncClarion])
async def test_a_server_that_is_not_there_is_told(kind: type[Clarion | AsyncClarion]) -> None:
    with Stub() as stub:
        pass  # its port is free again
    caller = Caller(kind(stub.url, KEY))
    with pytest.raises(Unreachable, match="refused"):
        await caller("event", "evt_1")
    await caller.close()


@pytest.mark.parametrize("kind", [Clarion, AsyncClarion])
async def test_a_server_that_never_answers_runs_into_the_timeout(kind: type[Clarion | AsyncClarion]) -> None:
    with Stub() as stub:
        stub.otherwise = HANG
        caller = Caller(kind(stub.url, KEY, timeout=0.05))
        with pytest.raises(Unreachable, match="tries: 4"):
            await caller("send", "t", to="ada")
        await caller.close()
        assert len({request.body["idempotency_key"] for request in stub.asked}) == 1


async def test_a_redirect_is_an_error_and_the_key_stays_at_home(call: Caller, stub: Stub) -> None:
    with Stub() as elsewhere:
        stub.script.append(Say(307, None, {"Location": elsewhere.url + "/v1/events"}))
        with pytest.raises(Exception, match="http_307"):
            await call("send", "t", to="ada")
        assert elsewhere.asked == []


async def test_pages_are_asked_for_one_after_the_other(call: Caller, stub: Stub) -> None:
    def page(*ids: str, following: str | None) -> Say:
        items = [{"id": i, "event_id": "e", "workflow": "w", "version": 1, "recipient": "ada"} for i in ids]
        return Say(200, {"items": items, "next": following})

    stub.script.extend([page("1", "2", following="a/b="), page(following="c"), page("3", following=None)])

    found = await call("notifications", event="evt_1")

    assert [n.id for n in found] == ["1", "2", "3"]
    assert [request.target for request in stub.asked] == [
        "/v1/notifications?event=evt_1",
        "/v1/notifications?event=evt_1&cursor=a%2Fb%3D",
        "/v1/notifications?event=evt_1&cursor=c",
    ]


def test_a_page_that_nobody_reads_is_not_asked_for(stub: Stub) -> None:
    item = {"id": "1", "event_id": "e", "workflow": "w", "version": 1, "recipient": "ada"}
    stub.otherwise = Say(200, {"items": [item, item], "next": "more"})
    with Clarion(stub.url, KEY) as clarion:
        found = clarion.notifications()
        next(found)
        next(found)
    assert len(stub.asked) == 1


async def test_large_batches_go_in_pieces_and_answer_as_one(call: Caller, stub: Stub) -> None:
    stub.script.extend(
        Say(202, {"results": [{"id": f"evt_{n}", "status": "accepted", "duplicate": False}] * size})
        for n, size in enumerate([1000, 1000, 1])
    )

    results = await call("send_batch", [Event("t", to="ada") for _ in range(2001)])

    assert [len(request.body["events"]) for request in stub.asked] == [1000, 1000, 1]
    assert [results[i].id for i in (0, 999, 1000, 2000)] == ["evt_0", "evt_0", "evt_1", "evt_2"]
    assert len({e["idempotency_key"] for request in stub.asked for e in request.body["events"]}) == 2001


async def test_heavy_batches_are_cut_by_size_too(call: Caller, stub: Stub) -> None:
    stub.script.extend(Say(202, {"results": []}) for _ in range(2))

    await call("send_batch", [Event("t", {"text": "x" * 200_000}, to="ada") for _ in range(80)])

    assert [len(request.body["events"]) for request in stub.asked] == [74, 6]


async def test_followers_go_in_pieces_of_ten_thousand(call: Caller, stub: Stub) -> None:
    stub.script.extend([Say(200, {"subscribed": 10_000}), Say(200, {"subscribed": 1})])

    assert await call("subscribe", "author:7", (f"u{n}" for n in range(10_001))) == 10_001
    assert [len(request.body["recipients"]) for request in stub.asked] == [10_000, 1]


async def test_nothing_to_say_asks_nothing(call: Caller, stub: Stub) -> None:
    assert await call("send_batch", []) == []
    assert await call("put_recipients", []) == []
    assert await call("subscribe", "t", []) == 0
    assert stub.asked == []


async def test_a_mistake_in_the_arguments_is_told_before_anything_is_sent(call: Caller, stub: Stub) -> None:
    with pytest.raises(ValueError, match="exactly one audience"):
        await call("send", "t")
    with pytest.raises(TypeError):
        await call("send", "t", {"when": object()}, to="ada")
    assert stub.asked == []


async def test_connections_are_kept(call: Caller, stub: Stub) -> None:
    for _ in range(3):
        await call("send", "t", to="ada")
    assert len({request.connection for request in stub.asked}) == 1


async def test_a_server_that_keeps_no_connections_is_fine_too() -> None:
    with Stub(keep_alive=False) as stub, Clarion(stub.url, KEY) as clarion:
        for _ in range(3):
            assert clarion.send("t", to="ada").id == "evt_1"
        assert len({request.connection for request in stub.asked}) == 3


def test_a_connection_that_went_stale_is_replaced_without_counting_as_a_failure(stub: Stub) -> None:
    # Given a client that may not retry, and a kept connection that the server resets at its next request
    with Clarion(stub.url, KEY, retries=0) as clarion:
        clarion.send("t", to="ada")
        stub.script.append(DROP)

        # When it is used, then a new one takes its place
        assert clarion.send("t", to="ada").id == "evt_1"
    assert [request.connection == stub.asked[0].connection for request in stub.asked] == [True, True, False]


def test_a_client_that_is_never_closed_leaves_nothing_open(stub: Stub) -> None:
    script = f"""if True:
        from clarion.client import Clarion
        clarion = Clarion({stub.url!r}, {KEY!r})
        clarion.send("t", to="ada")
    """
    told = subprocess.run(
        [sys.executable, "-W", "always", "-c", script], check=True, capture_output=True, text=True, timeout=30
    )
    assert told.stderr == ""


def test_threads_may_share_a_client(stub: Stub) -> None:
    with Clarion(stub.url, KEY) as clarion, ThreadPoolExecutor(8) as crowd:
        answers = list(crowd.map(lambda n: clarion.send("t", {"n": n}, to="ada"), range(200)))
    assert len(answers) == 200
    assert sorted(request.body["data"]["n"] for request in stub.asked) == list(range(200))
    assert len({request.connection for request in stub.asked}) <= 8


async def test_tasks_may_share_a_client(stub: Stub) -> None:
    async with AsyncClarion(stub.url, KEY) as clarion:
        await asyncio.gather(*(clarion.send("t", {"n": n}, to="ada") for n in range(200)))
    assert sorted(request.body["data"]["n"] for request in stub.asked) == list(range(200))


def test_a_blocking_client_that_was_used_before_a_fork_works_on_both_sides(stub: Stub) -> None:
    # Web servers and Celery fork after the application was imported and perhaps used.
    script = f"""if True:
        import os, sys
        from clarion.client import Clarion
        clarion = Clarion({stub.url!r}, {KEY!r}, retries=0)
        clarion.send("before", to="ada")
        child = os.fork()
        for n in range(3):
            clarion.send("child" if child == 0 else "parent", to="ada")
        if child == 0:
            os._exit(0)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    forked = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], check=True, capture_output=True, text=True, timeout=30
    )
    assert forked.stderr == ""

    spoke: dict[str, set[int]] = {}
    for request in stub.asked:
        spoke.setdefault(request.body["type"], set()).add(request.connection)
    assert len(stub.asked) == 7
    assert spoke["before"] == spoke["parent"]
    assert not spoke["child"] & spoke["parent"]


def test_the_blocking_client_waits_as_long_as_the_server_asks_and_closing_ends_the_wait(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a call that was asked to come back in a minute
    stub.otherwise = Say(429, None, {"Retry-After": "60"})
    clarion = Clarion(stub.url, KEY)
    waited: list[float | None] = []
    waiting = threading.Event()
    wait = clarion._closed.wait

    def noted(seconds: float | None = None) -> bool:
        waited.append(seconds)
        waiting.set()
        return wait(seconds)

    monkeypatch.setattr(clarion._closed, "wait", noted)
    with ThreadPoolExecutor(1) as thread:
        call = thread.submit(clarion.send, "t", to="ada")
        waiting.wait()

        # When the client is closed, then the call ends
        clarion.close()
        with pytest.raises(RuntimeError, match="closed"):
            call.result()
    assert waited[0] is not None
    assert 60 <= waited[0] < 61
    assert len(stub.asked) == 1


async def test_the_awaiting_client_waits_as_long_as_the_server_asks(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    async def noted(seconds: float) -> None:
        slept.append(seconds)

    stub.script.extend([Say(503, None, {"Retry-After": "5"}), OK])
    async with AsyncClarion(stub.url, KEY) as clarion:
        clarion._retries = Retries(draw=lambda: 0.5)
        monkeypatch.setattr("clarion.client.asynchronous.asyncio.sleep", noted)
        await clarion.send("t", to="ada")
    assert slept == [5.125, LET_GO]


async def test_a_closed_client_says_so(call: Caller, stub: Stub) -> None:
    await call.close()
    with pytest.raises(RuntimeError, match="closed"):
        await call("event", "evt_1")
    assert stub.asked == []


async def test_an_awaiting_client_may_be_made_outside_of_any_loop_and_used_in_several(stub: Stub) -> None:
    clarion = AsyncClarion(stub.url, KEY)

    def used() -> Any:
        async def send() -> Any:
            return await clarion.send("t", to="ada")

        with asyncio.Runner() as runner:
            return runner.run(send())

    assert [(await asyncio.to_thread(used)).id for _ in range(2)] == ["evt_1", "evt_1"]
    await clarion.close()


@pytest.mark.parametrize("kind", [Clarion, AsyncClarion])
async def test_project_and_path_of_the_address_are_sent(kind: type[Clarion | AsyncClarion], stub: Stub) -> None:
    caller = Caller(kind(stub.url + "/notify/", KEY, project="shop"))
    await caller("send", "t", to="ada")
    await caller.close()
    [asked] = stub.asked
    assert asked.target == "/notify/v1/events"
    assert asked.headers["clarion-project"] == "shop"


def test_nothing_that_is_shown_holds_the_key(stub: Stub) -> None:
    stub.script.extend([Say(401, {"code": "unauthorized", "detail": "no such key"}), Say(429), DROP, DROP])
    with Clarion(stub.url, "very-secret", retries=0) as clarion:
        for expected in (Unauthorized, RateLimited, Unreachable):
            with pytest.raises(expected) as error:
                clarion.get_recipient("ada")
            assert "very-secret" not in repr(error.value)
        assert "very-secret" not in repr(clarion)


def test_a_delete_may_be_retried(stub: Stub) -> None:
    stub.script.extend([DROP, Say(404, {"code": "not_found"}), Say(404, {"code": "not_found"})])
    with Clarion(stub.url, KEY) as clarion:
        clarion._retries = Retries(first=0.0)
        clarion.delete_recipient("ada")
        with pytest.raises(NotFound):
            clarion.delete_recipient("ada")


def test_importing_the_client_brings_nothing_of_the_server() -> None:
    script = "import sys, clarion.client; print('\\n'.join(sys.modules))"
    shown = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=30, env={**os.environ}
    )
    modules = set(shown.stdout.split())
    ours = {m for m in modules if m.partition(".")[0] == "clarion" and not m.startswith("clarion.client")}
    assert ours == {"clarion", "clarion.clock"}
    heavy = {"fastapi", "starlette", "sqlalchemy", "pydantic", "uvicorn", "cryptography", "yaml", "typer", "rich"}
    assert not heavy & {m.partition(".")[0] for m in modules}
