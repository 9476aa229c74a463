"""What a request through the one HTTP client costs: CPU of the whole process, its network thread included.

Alone, and as a signed webhook on the way that deliveries take. The stub answers from a process of its own. The bar is
0.08 ms for the client (DESIGN.md section 9); status 1 if it is missed.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

import msgspec
import uvloop

from clarion.clock import SystemClock
from clarion.deliveries.carry import deliver
from clarion.deliveries.http import HttpClient
from clarion.deliveries.interface import HttpRequest, HttpResponse, ProviderConfig, Services
from clarion.deliveries.providers import build
from clarion.model.delivery import Message
from clarion.model.ids import delivery_id, new_id
from clarion.model.words import Channel, ContactKind

REQUESTS, AT_ONCE, ROUNDS = 20_000, 64, 5
BAR = 0.08  # ms

BODY = b'{"message": {"token": "%b", "notification": {"title": "Ada replied", "body": "%b"}}}' % (
    b"a" * 160,
    b"b" * 200,
)
HEADERS = {"content-type": "application/json", "authorization": "Bearer " + "x" * 160}
NOTIFICATION = new_id(1_800_000_000_000, b"0123456789")
WEBHOOK = Message(
    project=1,
    delivery_id=NOTIFICATION,
    notification_id=NOTIFICATION,
    recipient="u1",
    channel=Channel.WEBHOOK,
    kind=ContactKind.URL,
    address="http://stub.test/hook",
    parts={"title": "Ada replied", "body": "b" * 200},
    attempt=1,
    workflow="comment_reply",
    event_type="comment.created",
    event_data={"author": "Ada", "text": "b" * 200},
)


async def measure(send: Callable[[int], Awaitable[None]], each: int) -> float:
    """ms of CPU per request, the best of some rounds: others share the machine. `send(n)` makes `each` requests."""
    best = float("inf")
    for _ in range(ROUNDS):
        numbers = iter(range(REQUESTS // each))

        async def work(numbers: object = numbers) -> None:
            for number in numbers:  # type: ignore[attr-defined]
                await send(number)

        before = time.process_time()
        await asyncio.gather(*(work() for _ in range(AT_ONCE // each)))
        best = min(best, (time.process_time() - before) / REQUESTS * 1000)
    return best


async def run(port: int) -> float:
    http = HttpClient(SystemClock())
    request = HttpRequest(url=f"http://127.0.0.1:{port}/v1/projects/p/messages:send", body=BODY, headers=HEADERS)

    async def post(number: int) -> None:
        answer = await http.call(request)
        assert isinstance(answer, HttpResponse), answer

    provider = build(
        ProviderConfig(
            name="hooks",
            kind="webhook",
            channel=Channel.WEBHOOK,
            base_url=f"http://127.0.0.1:{port}",
            config={"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},
        ),
        Services(http=http),
    )

    async def hooks(number: int) -> None:
        batch = [
            msgspec.structs.replace(WEBHOOK, delivery_id=delivery_id(NOTIFICATION, number * AT_ONCE + i, None))
            for i in range(AT_ONCE)
        ]
        await deliver(provider, batch, 1_800_000_000_000, lambda _, outcome: check(outcome.accepted))

    await post(0)
    client, webhook = await measure(post, 1), await measure(hooks, AT_ONCE)
    await http.aclose()
    print(f"client   {client:.3f} ms of CPU a request   (bar: {BAR})")
    print(f"webhook  {webhook:.3f} ms of CPU a request   (built, signed, sent, read)")
    return client


def check(holds: bool) -> None:
    assert holds, "the stub didn't accept"


def main() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    stub = subprocess.Popen([sys.executable, "-m", "benchmarks.stub", "--port", str(port)])
    try:
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        return int(uvloop.run(run(port)) > BAR)
    finally:
        stub.terminate()


if __name__ == "__main__":
    sys.exit(main())
