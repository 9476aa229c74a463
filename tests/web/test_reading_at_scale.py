"""What pages, lists and figures read doesn't grow with what there is: real statements, explained by PostgreSQL."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from clarion.bootstrap import Clarion
from clarion.engine.backlog import backlog
from clarion.engine.scheduler import Scheduler
from clarion.events import counting
from clarion.model import ids
from clarion.settings import load
from clarion.storage import pages
from clarion.storage.database import Row
from clarion.storage.postgres import PostgresTx
from tests.web.conftest import ADMIN_KEY, Api

MANY = 30_000  #: notifications of a broadcast; as many small events
#: Rows that one statement may read: a page of 50 with what belongs to it, or a look of `LOOK`.
BOUND = 1_200
LOOK = 500
NOW = 1_800_000_000_000

_WHO = "'user-' || lpad(i::text, 6, '0')"
_EVENT = "decode(lpad(to_hex(:at), 12, '0') || '7000' || '80' || lpad(to_hex({i}), 14, '0'), 'hex')".replace(
    ":at", f"{NOW} + {{at}}"
)
_BIG = _EVENT.format(at=0, i=0)
_HASH = "set_byte(substr(decode(md5({of}), 'hex'), 1, 8), 0, 128 + get_byte(decode(md5({of}), 'hex'), 0) % 64)"
_FILL = f"""
    INSERT INTO recipients SELECT 1, {_WHO}, NULL, NULL, '{{}}', '[]', '[]', NULL, 1, i, i
        FROM generate_series(1, {MANY}) i;
    INSERT INTO events SELECT 1, {_EVENT.format(at="i", i="i")}, 'news', '', NULL, NULL,
        CASE i WHEN 0 THEN 'broadcast' ELSE 'list' END, '[]', 3, {NOW} + i, NULL, NULL, NULL, NULL, NULL, NULL
        FROM generate_series(0, {MANY}) i;
    INSERT INTO shards SELECT 1, {_BIG}, i, 3, NULL, '', 'z', true, 0, 1000, 1000, 1000, 1, ''
        FROM generate_series(1, {MANY} / 1000) i;
    INSERT INTO shards SELECT 1, id, 1, 2, '[]', NULL, NULL, true, 0, 1, 1, 1, 1, ''
        FROM events WHERE audience = 'list';
    INSERT INTO notifications SELECT 1, substr(e, 1, 8) || {_HASH.format(of=_WHO)}, e, 'news', 1, {_WHO}, NULL, NULL,
        {NOW}, NULL, NULL, NULL, NULL, NULL, NULL FROM (SELECT {_BIG} AS e, i FROM generate_series(1, {MANY}) i) x;
    INSERT INTO notifications SELECT 1, substr(e, 1, 8) || {_HASH.format(of=_WHO)}, e, 'note', 1, 'user-' || i % 100,
        NULL, NULL, {NOW} + i, NULL, NULL, NULL, NULL, i, ''
        FROM (SELECT {_EVENT.format(at="i", i="i")} AS e, i FROM generate_series(1, {MANY}) i) x;
    INSERT INTO deliveries SELECT 1, id, id, 0, 'push',
        (ARRAY['pending', 'deferred', 'sent', 'delivered', 'failed'])[1 + get_byte(id, 11) % 5], NULL, 3, {NOW}, NULL,
        'fcm', 1, 1, 1, false, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM notifications;
    INSERT INTO facts_operational SELECT 3, nextval('facts_operational_position'), 1, created_at, 'NotificationTouched',
        1, id, recipient, '{{"act":"seen"}}' FROM notifications;
    INSERT INTO outbox SELECT 1, id, id, recipient, 'email', '', {NOW} FROM notifications;
    INSERT INTO subscriptions SELECT 1, 'news', id, 1 FROM recipients;
    INSERT INTO suppressions SELECT 1, id, 'email', id, '', 'bounced', 1, NULL FROM notifications;
    INSERT INTO digest_buckets SELECT 1, id, id, recipient, 'note', 1, 0, 0, 'push', id, 0, 1, {NOW}, NULL, NULL, NULL,
        NULL, NULL FROM notifications;
    INSERT INTO inboxes SELECT 1, 'user-' || i, 0, {MANY}, 0, 0, 0, 0 FROM generate_series(0, 99) i;
    ANALYZE;
"""


class Explained:
    """Statements as they were sent, and what PostgreSQL read for them."""

    def __init__(self, url: str) -> None:
        self.url, self.sent = url, dict[str, list[Any]]()

    async def most_read(self) -> dict[str, int]:
        """By statement, the rows that were read, whether they fitted or not."""
        connection = await asyncpg.connect(self.url)
        found = {}
        for text, values in self.sent.items():
            plan = json.loads(await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {text}", *values))[0]["Plan"]
            found[text] = round(sum(_read(node) for node in _nodes(plan)))
        await connection.close()
        return found


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from _nodes(inner)


def _read(node: Mapping[str, Any]) -> float:
    if "Relation Name" not in node:
        return 0
    passed = sum(node.get(f"Rows Removed by {why}", 0) for why in ("Filter", "Index Recheck"))
    return float((node["Actual Rows"] + passed) * node["Actual Loops"])


@pytest.fixture(scope="module")
def filled_url(databases: Any, postgres_template: str) -> Iterator[str]:
    """A database with a large broadcast and many small events in it."""
    url = databases.create(postgres_template)

    async def fill() -> None:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(_FILL)
        finally:
            await connection.close()

    databases.run(fill())
    yield url
    databases.drop(url)


@pytest.fixture
async def clarion(filled_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Clarion]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pages, "MOST_PASSED", LOOK)
    monkeypatch.setattr(counting, "SAMPLE", LOOK)
    monkeypatch.setattr(counting, "PART", LOOK)
    environment = {"CLARION_DATABASE_URL": filled_url, "CLARION_ADMIN_KEY": ADMIN_KEY}
    opened = await Clarion.open(load(None, {**environment, "CLARION_ENCRYPTION_KEYS": f"k1:{'A' * 43}="}))
    yield opened
    await opened.close()


@pytest.fixture
def explained(clarion: Clarion, filled_url: str, monkeypatch: pytest.MonkeyPatch) -> Explained:
    """Notes what is asked from now on."""
    found, fetch = Explained(filled_url), PostgresTx.fetch

    async def noting(self: PostgresTx, statement: str, /, **values: Any) -> Any:
        text, arguments = self._prepared(statement, values)
        found.sent[text] = arguments
        rows: list[Row] = [*await fetch(self, statement, **values)]
        return rows

    monkeypatch.setattr(PostgresTx, "fetch", noting)
    return found


BIG = ids.show(ids.EVENT, NOW.to_bytes(6, "big") + bytes.fromhex("7000" + "80" + "00" * 7))
SMALL = ids.show(ids.EVENT, (NOW + 7).to_bytes(6, "big") + bytes.fromhex("7000" + "80" + "00" * 6 + "07"))


@pytest.mark.parametrize(
    "path,query",
    [
        (f"/v1/events/{BIG}", {}),
        (f"/v1/events/{SMALL}", {}),
        ("/v1/notifications", {}),
        ("/v1/notifications", {"event": BIG}),
        ("/v1/notifications", {"event": BIG, "recipient": "user-000007"}),
        ("/v1/notifications", {"recipient": "user-7"}),
        ("/v1/notifications", {"workflow": "news"}),
        ("/v1/notifications", {"workflow": "no such"}),
        ("/v1/notifications", {"state": "failed"}),
        ("/v1/notifications", {"state": "expired"}),
        ("/v1/notifications", {"state": "expired", "event": BIG, "workflow": "news"}),
        ("/v1/notifications", {"state": "expired", "recipient": "user-7"}),
        ("/v1/outbox", {}),
        ("/v1/outbox", {"recipient": "nobody"}),
        ("/v1/outbox", {"channel": "sms"}),
        ("/v1/recipients", {}),
        ("/v1/recipients", {"q": "user-0299"}),
        ("/v1/recipients", {"q": "zoe"}),
        ("/v1/topics/news/subscriptions", {}),
        ("/v1/suppressions", {}),
        ("/v1/parked", {}),
        ("/v1/providers", {}),
        ("/v1/stats", {}),
    ],
)
async def test_a_page_reads_what_it_shows_and_little_more(
    clarion: Clarion, explained: Explained, path: str, query: dict[str, Any]
) -> None:
    answer = await Api(clarion, ADMIN_KEY)("GET", path, **query)
    assert answer.status == 200, answer.body
    assert {text: n for text, n in (await explained.most_read()).items() if n > BOUND} == {}


async def test_a_page_whose_filter_fits_nothing_near_says_where_to_look_on(clarion: Clarion) -> None:
    api = Api(clarion, ADMIN_KEY)

    # Given the workflow of the oldest notifications, behind all of another one
    page, looks = (await api("GET", "/v1/notifications", workflow="news")).body, 1
    while not page["items"]:
        page, looks = (await api("GET", "/v1/notifications", workflow="news", cursor=page["next"])).body, looks + 1

    # Then the pages lead to it
    assert looks >= MANY // LOOK
    assert {n["workflow"] for n in page["items"]} == {"news"}


async def test_an_inbox_page_reads_what_it_shows(clarion: Clarion, explained: Explained) -> None:
    api = Api(clarion, ADMIN_KEY)
    token = (await api("POST", "/v1/recipients/user-7/tokens", {"purpose": "inbox"})).body["token"]
    for status in ("unread", "read", "archived"):
        assert (await Api(clarion, token)("GET", "/v1/inbox", status=status)).status == 200
    assert (await Api(clarion, token)("GET", "/v1/inbox/counts")).status == 200
    assert {text: n for text, n in (await explained.most_read()).items() if n > BOUND} == {}


async def test_figures_and_looks_for_work_count_no_further_than_they_say(
    clarion: Clarion, explained: Explained, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given far more that is due than is counted
    monkeypatch.setattr("clarion.engine.backlog.MOST", LOOK)
    found = await backlog(clarion.db, ["fcm"], NOW + 1)
    await Scheduler(clarion.db, clarion.clock, ("fcm",)).due()
    await clarion.projections.ages()

    # Then the figures stop there, the age of the oldest is right, and little was read
    assert found.digests == found.reviews == (LOOK, NOW)
    assert {text: n for text, n in (await explained.most_read()).items() if n > 2 * BOUND} == {}


async def test_a_large_events_counts_begin_as_an_estimate_and_become_exact(
    clarion: Clarion, monkeypatch: pytest.MonkeyPatch
) -> None:
    event, parts = ids.read(ids.EVENT, BIG), asyncio.Semaphore(3)
    monkeypatch.setattr(counting, "PATIENCE", 0.01)
    read = counting.states_of

    async def held(*args: Any, **named: Any) -> dict[str, int]:
        await parts.acquire()
        return await read(*args, **named)

    monkeypatch.setattr(counting, "states_of", held)

    # When it is asked for while the first count is under way
    early = await clarion.event(1, event)

    # Then the sum is about right, and nobody is told that all is done
    assert early["estimated"]
    assert sum(early["deliveries"].values()) == pytest.approx(MANY, rel=0.2)
    assert early["progress"]["phase"] == "delivering"

    # And once the count is through, it is exact
    parts = asyncio.Semaphore(10_000)
    await clarion._counts.close()
    exact = await clarion.event(1, event, wait=True)
    rows = await clarion.db.read(
        lambda tx: tx.fetch(
            "SELECT d.state, count(*) AS n FROM deliveries d JOIN notifications n ON n.id = d.notification_id "
            "WHERE n.event_id = :event GROUP BY d.state",
            event=event,
        )
    )
    assert exact["deliveries"] == {row["state"]: row["n"] for row in rows}
    assert not exact["estimated"]
