"""Every table of Clarion, for SQLite and PostgreSQL alike.

Conventions: every row and unique key starts with its `project` (except those listed in `WITHOUT_PROJECT`); ids are
16 bytes; instants are ms since the epoch; only types that both drivers take as they are (int, text, bytes, bool), so
that no value is converted on the way. JSON is text, sealed values are bytes (see `clarion.security.encryption`). What
an index is for stands beside it.

On PostgreSQL texts compare by their bytes, as on SQLite and in Python, whatever the database's collation is: pages by
key and the ends of shards need one order everywhere. What grows with every event is partitioned there by time
(`clarion.storage.partitions`).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine

metadata = MetaData()

#: Tables that are not about one project, with the reason.
WITHOUT_PROJECT = {
    "projects": "is the list of projects",
    "meta": "holds what belongs to the installation: the wrapped look-up secret, the epoch of the limits store",
    "workers": "lists running processes",
    "checkpoints": "a projector reads the ledger of all projects in one order",
    "provider_states": "a provider's account serves all projects",
    "early_receipts": "a receipt's project is known once it has found its delivery",
    "baselines": "a stream of facts is cut for all projects at once",
    "facts_operational": "read in the order of its positions over all projects",
    "facts_record": "read in the order of its positions over all projects",
}


def _id(name: str, **options: object) -> Column[bytes]:
    return Column(name, LargeBinary(16), **{"nullable": False, **options})  # type: ignore[arg-type]


def _column(name: str, kind: TypeEngine[Any], **options: object) -> Column[object]:
    return Column(name, kind, **{"nullable": False, **options})  # type: ignore[arg-type]


_TEXT = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def _text(name: str, **options: object) -> Column[object]:
    return _column(name, _TEXT, **options)


def _at(name: str, **options: object) -> Column[object]:
    return _column(name, BigInteger(), **options)


def _number(name: str, **options: object) -> Column[object]:
    return _column(name, Integer(), **options)


def _sealed(name: str, **options: object) -> Column[object]:
    return _column(name, LargeBinary(), **options)


def _project(**options: object) -> Column[object]:
    return _number("project", autoincrement=False, **options)


KEY = {"primary_key": True}
NULL = {"nullable": True}


#: Tables that are partitioned by time on PostgreSQL, and the column (a time-ordered id, or ms) that says when.
PARTITIONED: dict[str, str] = {}


def _table(name: str, *parts: Column[object] | Column[bytes] | Index, by_time: str | None = None) -> Table:
    if by_time is None:
        return Table(name, metadata, *parts, sqlite_with_rowid=False)
    PARTITIONED[name] = by_time
    return Table(name, metadata, *parts, sqlite_with_rowid=False, postgresql_partition_by=f"RANGE ({by_time})")


# --- the installation -------------------------------------------------------------------------------------------------

projects = _table("projects", _number("id", **KEY, autoincrement=False), _text("key", unique=True), _at("created_at"))

meta = _table("meta", _text("name", **KEY), _sealed("value"))

workers = _table("workers", _id("id", **KEY), _text("kind"), _at("started_at"), _at("heartbeat_at"))

api_keys = _table(
    "api_keys",
    _project(**KEY),  # 0: all projects
    _id("id", **KEY),
    _sealed("hash", unique=True),  # project-wide uniqueness isn't enough: the key alone names its project
    _text("name"),
    _text("role"),
    _at("created_at"),
    _at("expires_at", **NULL),
    _at("revoked_at", **NULL),
)

# --- people -----------------------------------------------------------------------------------------------------------

recipients = _table(
    "recipients",
    _project(**KEY),
    _text("id", **KEY),
    _text("locale", **NULL),
    _text("timezone", **NULL),
    _text("attributes"),  # JSON
    _text("quiet_hours"),  # JSON, as the API takes it
    _text("delivery_windows"),  # JSON
    _number("attention_budget", **NULL),
    _number("policy_version"),
    _at("created_at"),
    _at("updated_at"),
)

#: A person's data key, wrapped by the key ring: a table of its own, so that it can be kept apart from backups.
recipient_keys = _table("recipient_keys", _project(**KEY), _text("recipient", **KEY), _sealed("wrapped"))

contact_points = _table(
    "contact_points",
    _project(**KEY),
    _text("recipient", **KEY),
    _id("id", **KEY),
    _text("channel"),
    _text("kind"),
    _sealed("sealed"),
    _sealed("lookup"),
    _text("label", **NULL),
    _text("timezone", **NULL),
    _text("locale", **NULL),
    _text("country", **NULL),  # of a phone number: which providers may carry it
    _text("source"),  # profile (email, phone of the recipient), device or contact
    _at("created_at"),
    _at("updated_at"),
    Index("contact_points_lookup", "project", "lookup"),  # who has this address: suppressions, pruning, moved devices
)

preferences = _table(
    "preferences",
    _project(**KEY),
    _text("recipient", **KEY),
    _text("scope", **KEY),  # "" | "type:KEY" | "category:NAME"
    _text("channel", **KEY),
    _column("enabled", Boolean(), **NULL),
    _number("max_per_hour", **NULL),
    _number("max_per_day", **NULL),
    _text("on_limit", **NULL),
    _text("digest", **NULL),
)

subscriptions = _table(
    "subscriptions",
    _project(**KEY),
    _text("topic", **KEY),
    _text("recipient", **KEY),
    _at("created_at"),
    Index("subscriptions_of", "project", "recipient"),  # erasure, a recipient's topics
)

suppressions = _table(
    "suppressions",
    _project(**KEY),
    _id("id", **KEY),
    _text("channel"),
    _sealed("lookup"),
    _sealed("sealed"),  # the address, under the ring's key: it may belong to no recipient
    _text("cause"),
    _at("created_at"),
    _at("expires_at", **NULL),
    Index("suppressions_lookup", "project", "channel", "lookup", unique=True),
)

tenants = _table(
    "tenants",
    _project(**KEY),
    _text("id", **KEY),
    _text("name"),
    _text("preferences"),  # JSON
    _text("branding"),  # JSON
    _text("limits"),  # JSON
    _number("policy_version"),  # raised when the preferences change: what waits is decided again
    _at("updated_at"),
)

# --- workflows --------------------------------------------------------------------------------------------------------

workflow_versions = _table(
    "workflow_versions",
    _project(**KEY),
    _text("key", **KEY),
    _number("version", **KEY, autoincrement=False),
    _text("source"),  # file or api
    _text("content"),  # JSON, self-contained
    _sealed("content_hash"),
    _at("created_at"),
)

# --- layer 1: events --------------------------------------------------------------------------------------------------

#: As queries must write it for an index to serve them.
UNFINISHED = "held_at IS NOT NULL OR unfinished IS NOT NULL"

events = _table(
    "events",
    _project(**KEY),
    _id("id", **KEY),
    _text("type"),
    _sealed("data"),  # JSON under the ring's key
    _text("actor", **NULL),
    _text("tenant", **NULL),
    _text("audience"),  # list, topic:KEY or broadcast
    _text("workflows"),  # JSON [[key, version], ...]: a run keeps its versions
    _column("priority", SmallInteger(), **NULL),
    _at("accepted_at"),
    _at("send_at", **NULL),
    _at("expires_at", **NULL),
    _at("cancelled_at", **NULL),
    _at("held_at", **NULL),  # paused: nothing of it is decided or sent
    _sealed("unfinished", **NULL),  # what is still to be done to its deliveries: see clarion.events.unfinished
    _text("traceparent", **NULL),  # W3C Trace Context of the request that reported it
    # what is held or has to be gone on with; empty, as good as always
    Index("events_unfinished", "id", sqlite_where=text(UNFINISHED), postgresql_where=text(UNFINISHED)),
    by_time="id",
)

idempotency = _table(
    "idempotency",
    _project(**KEY),
    _text("key", **KEY),
    _sealed("hash"),
    _id("event_id"),
    _at("expires_at"),
    Index("idempotency_expiry", "expires_at"),  # the sweeper's clean-up
)

shards = _table(
    "shards",
    _project(**KEY),
    _id("event_id", **KEY),
    _number("number", **KEY, autoincrement=False),
    _column("priority", SmallInteger()),
    _text("members", **NULL),  # JSON list of recipient ids; null: a range of the topic's subscriptions
    _text("after", **NULL),
    _text("upto", **NULL),
    _column("done", Boolean()),
    _at("due_at"),
    _number("recipients"),
    _number("decided"),
    _number("notifications"),
    _column("tries", SmallInteger()),  # how often it was taken
    _text("share"),  # whose it is in the queue: tenant and workflow
    # work waiting to be decided; empty when there is none
    Index(
        "shards_due", "priority", "share", "due_at", sqlite_where=text("done = 0"), postgresql_where=text("NOT done")
    ),
    by_time="event_id",
)

#: Work that was tried so often that it now waits for a person.
parked = _table(
    "parked",
    _project(**KEY),
    _text("job", **KEY),
    _id("subject", **KEY),  # the event
    _number("number", **KEY, autoincrement=False),  # the shard
    _text("error"),  # the class of the last error
    _at("at"),
)

# --- layer 2: decisions -----------------------------------------------------------------------------------------------

#: As queries must write it for an index to serve them.
UNREAD = "inbox_seq IS NOT NULL AND read_at IS NULL AND archived_at IS NULL"
SNOOZED = "inbox_seq IS NOT NULL AND snoozed_until IS NOT NULL AND archived_at IS NULL"

notifications = _table(
    "notifications",
    _project(**KEY),
    _id("id", **KEY),  # begins with the event's first 8 bytes: see clarion.model.ids
    _id("event_id"),
    _text("workflow"),
    _number("version"),
    _text("recipient"),
    _text("tenant", **NULL),
    _text("category", **NULL),
    _at("created_at"),
    _at("seen_at", **NULL),
    _at("read_at", **NULL),
    _at("archived_at", **NULL),
    _at("snoozed_until", **NULL),
    _at("inbox_seq", **NULL),  # its place in the inbox, set when it came there
    _sealed("inbox", **NULL),  # title, body, action_url under the person's data key
    Index("notifications_of", "project", "recipient", "id"),  # a person's notifications, newest first
    # a person's inbox in the order in which things came; nothing of what isn't in an inbox
    Index(
        "notifications_inbox",
        "project",
        "recipient",
        "inbox_seq",
        sqlite_where=text("inbox_seq IS NOT NULL"),
        postgresql_where=text("inbox_seq IS NOT NULL"),
    ),
    # what is unread, however much else there is
    Index(
        "notifications_unread",
        "project",
        "recipient",
        "inbox_seq",
        sqlite_where=text(UNREAD),
        postgresql_where=text(UNREAD),
    ),
    # what comes back by itself: the counters of `inboxes` don't know the time
    Index(
        "notifications_snoozed",
        "project",
        "recipient",
        "snoozed_until",
        sqlite_where=text(SNOOZED),
        postgresql_where=text(SNOOZED),
    ),
    by_time="id",
)

#: One row a person whose inbox holds something. Who changes the inbox holds the row: its numbers are always right.
inboxes = _table(
    "inboxes",
    _project(**KEY),
    _text("recipient", **KEY),
    _at("epoch"),  # when it was made: an erased person's next inbox counts anew, and says so
    _at("seq"),  # the last one given
    _at("acts"),  # how often anything in it was changed by the person
    _number("unseen"),  # these three without what is archived, with what is snoozed
    _number("unread"),
    _number("total"),
)

deliveries = _table(
    "deliveries",
    _project(**KEY),
    _id("id", **KEY),  # begins with the notification's first 12 bytes: see clarion.model.ids
    _id("notification_id"),
    _column("step", SmallInteger()),
    _text("channel"),
    _text("state"),
    _text("reason", **NULL),
    _column("priority", SmallInteger()),
    _at("due_at", **NULL),
    _id("contact_id", **NULL),
    _text("provider", **NULL),
    _number("policy_version"),
    _number("attempts"),
    _number("provider_attempts"),  # counted ones with the present provider
    _column("possible_duplicate", Boolean()),
    _at("slot_at", **NULL),  # when its cap slot was stamped
    _id("lease", **NULL),  # the worker that is sending it
    _text("reference", **NULL),  # the provider's id of what it accepted; kept where its receipts may be matched by it
    _text("tried", **NULL),  # the providers that gave it up, by name, a space between
    _column("heard", SmallInteger(), **NULL),  # which receipts came, a bit each: `clarion.deliveries.ranking`
    _at("settled_at", **NULL),
    _id("bucket_id", **NULL),  # the digest that it is, or was, an item of
    # what a provider has to send, the most urgent first; empty when nothing waits
    Index(
        "deliveries_due",
        "provider",
        "priority",
        "due_at",
        sqlite_where=text("state = 'pending'"),
        postgresql_where=text("state = 'pending'"),
    ),
    # what waits to be decided again
    Index(
        "deliveries_deferred",
        "due_at",
        sqlite_where=text("state = 'deferred'"),
        postgresql_where=text("state = 'deferred'"),
    ),
    # the items of a digest
    Index(
        "deliveries_gathered",
        "project",
        "bucket_id",
        sqlite_where=text("bucket_id IS NOT NULL"),
        postgresql_where=text("bucket_id IS NOT NULL"),
    ),
    # what nobody knows the outcome of
    Index(
        "deliveries_unknown",
        "settled_at",
        sqlite_where=text("state = 'unknown'"),
        postgresql_where=text("state = 'unknown'"),
    ),
    # what goes to the next provider unless a receipt comes
    Index(
        "deliveries_unheard",
        "due_at",
        sqlite_where=text("state = 'sent' AND due_at IS NOT NULL"),
        postgresql_where=text("state = 'sent' AND due_at IS NOT NULL"),
    ),
    # what a receipt without our own id is about
    Index(
        "deliveries_reference",
        "provider",
        "reference",
        sqlite_where=text("reference IS NOT NULL"),
        postgresql_where=text("reference IS NOT NULL"),
    ),
    # what the dead were sending
    Index(
        "deliveries_leased",
        "lease",
        sqlite_where=text("state = 'sending'"),
        postgresql_where=text("state = 'sending'"),
    ),
    by_time="id",
)

#: What was read elsewhere and is to be taken back from the devices that show it.
recalls = _table(
    "recalls",
    _project(**KEY),
    _id("notification_id", **KEY),
    _at("due_at"),
    _number("tries"),
    Index("recalls_due", "due_at"),
)

dedupe_claims = _table(
    "dedupe_claims",
    _project(**KEY),
    _text("workflow", **KEY),
    _text("recipient", **KEY),
    _sealed("key_hash", **KEY),
    _id("event_id"),
    _at("expires_at"),
    Index("dedupe_expiry", "expires_at"),  # the sweeper's clean-up
)

#: Open and closed digests, one row a channel. Their items are the deliveries that name them as their bucket.
digest_buckets = _table(
    "digest_buckets",
    _project(**KEY),
    _id("id", **KEY),
    _id("run"),  # what the same event began to gather on other channels has the same one
    _text("recipient"),
    _text("workflow"),
    _number("version"),  # that of the first item: a run keeps its version
    _column("step", SmallInteger()),
    _column("begins", SmallInteger()),  # waits from this step on lie ahead when it closes
    _text("channel"),
    _sealed("key_hash"),
    _column("windows", SmallInteger()),  # it has waited for with too few items, this one included
    _at("opened_at"),
    _at("closes_at"),
    _at("closed_at", **NULL),
    _id("notification_id", **NULL),  # what it became
    _number("items", **NULL),  # how many it tells of
    _number("actor_count", **NULL),
    _text("shown", **NULL),  # JSON: the events of the first and last items, and actors
    # at most one is open: who opens it wins
    Index(
        "digest_open",
        "project",
        "recipient",
        "workflow",
        "channel",
        "key_hash",
        unique=True,
        sqlite_where=text("closed_at IS NULL"),
        postgresql_where=text("closed_at IS NULL"),
    ),
    # what is due to close
    Index(
        "digest_due",
        "closes_at",
        sqlite_where=text("closed_at IS NULL"),
        postgresql_where=text("closed_at IS NULL"),
    ),
    # the digest behind a notification
    Index(
        "digest_closed",
        "project",
        "notification_id",
        sqlite_where=text("notification_id IS NOT NULL"),
        postgresql_where=text("notification_id IS NOT NULL"),
    ),
)

# --- limits, embedded -------------------------------------------------------------------------------------------------

#: The last sends that a cap counts, packed as in `clarion.limits.rolling`; type and channel as in `Counter`.
cap_counters = _table(
    "cap_counters",
    _project(**KEY),
    _text("recipient", **KEY),
    _text("channel", **KEY),
    _text("type", **KEY),
    _sealed("sends"),
)

# --- layer 3: how providers stand, for all workers --------------------------------------------------------------------

provider_states = _table(
    "provider_states",
    _text("name", **KEY),
    _text("state"),  # healthy, demoted or probing
    _number("generation"),  # raised when it is restored: its health is counted anew
    _at("since"),
    _at("probe_at"),  # when it is probed next, while it is demoted
    _number("probes"),  # accepted ones in a row
    _at("paused_until"),  # it said that we are too fast
    _number("accepted"),  # the figures of the last switch
    _number("failed"),
)

# --- layer 3: what providers said too early ---------------------------------------------------------------------------

#: Receipts whose delivery's outcome isn't stored yet. They hold no address.
early_receipts = _table(
    "early_receipts",
    _id("id", **KEY),  # derived from what it says: told twice, it is kept once
    _text("provider"),
    _text("channel"),
    _id("delivery_id", **NULL),
    _text("reference", **NULL),
    _text("receipt"),  # JSON
    _at("received_at"),
    _at("due_at"),  # when it is matched again at the latest
    Index("early_receipts_delivery", "delivery_id"),  # an outcome's
    Index("early_receipts_reference", "provider", "reference"),
    Index("early_receipts_due", "due_at"),  # the sweeper's
)

# --- layer 3: what providers keep here --------------------------------------------------------------------------------

#: Webhook endpoints whose last attempts all failed; a success takes the row away (`clarion.deliveries.endpoints`).
failing_endpoints = _table(
    "failing_endpoints",
    _project(**KEY),
    _id("contact_id", **KEY),
    _at("first_at"),
    _at("last_at"),
    _number("failures"),
    Index("failing_endpoints_last", "last_at"),  # what is over, to be cleared
)

outbox = _table(
    "outbox",
    _project(**KEY),
    _id("id", **KEY),  # derived from the delivery: capturing twice stores once
    _id("delivery_id"),
    _text("recipient"),
    _text("channel"),
    _sealed("content"),  # to and parts as JSON, under the person's data key
    _at("at"),
)

# --- the ledger and its read models -----------------------------------------------------------------------------------


def _facts(name: str, by_time: str | None = None) -> Table:
    return _table(
        name,
        # The order in which facts may be read: on PostgreSQL a reader stays below every running transaction's xid.
        _column("xid", BigInteger(), **KEY, autoincrement=False),
        _column("position", BigInteger(), **KEY, autoincrement=False),
        _project(),
        _at("at", primary_key=by_time is not None),  # a key has to hold what its table is partitioned by
        _text("kind"),
        _column("version", SmallInteger()),
        _id("subject", **NULL),
        _text("recipient", **NULL),
        _text("detail"),
        Index(f"{name}_subject", "project", "subject"),  # timelines
        by_time=by_time,
    )


facts_operational = _facts("facts_operational", by_time="at")
facts_record = _facts("facts_record")
Index("facts_record_recipient", facts_record.c.project, facts_record.c.recipient)  # a person's consent record

checkpoints = _table(
    "checkpoints",
    _text("projector", **KEY),
    _text("stream", **KEY),
    _column("xid", BigInteger()),
    _column("position", BigInteger()),
    _at("updated_at"),
)

#: Where retention has cut a stream: facts before `at` are gone or going; what projections made of them stays.
baselines = _table("baselines", _text("stream", **KEY), _at("at"))

daily_stats = _table(
    "daily_stats",
    _project(**KEY),
    _text("day", **KEY),  # UTC, 2027-03-14
    _text("workflow", **KEY),
    _text("channel", **KEY),
    _text("provider", **KEY),
    _text("state", **KEY),
    _text("reason", **KEY),
    _column("count", BigInteger()),
)

provider_history = _table(
    "provider_history",
    _project(**KEY),
    _text("provider", **KEY),
    _at("minute", **KEY),  # ms of its start
    _text("outcome", **KEY),
    _column("count", BigInteger()),
    _column("took_ms", BigInteger()),  # summed
)
