"""Every table of Clarion, for SQLite and PostgreSQL alike.

Conventions: every row and unique key starts with its `project` (except those in `WITHOUT_PROJECT`); ids are 16 bytes;
instants are ms since the epoch; only types that both drivers take as they are (int, text, bytes, bool): no value is
converted on the way. JSON is text, sealed values are bytes (`clarion.security.encryption`). What an index is for stands
beside it. On PostgreSQL texts compare by their bytes, as on SQLite and in Python, whatever the database's collation is:
pages by key and the ends of shards need one order everywhere. What grows with every event is partitioned there by time
(`clarion.storage.partitions`).
"""

from __future__ import annotations

from clarion.storage import columns as c
from clarion.storage.columns import KEY, NULL, TABLES, Index, Table

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

# --- the installation -------------------------------------------------------------------------------------------------

projects = Table("projects", c.number("id", **KEY), c.text("key", unique=True), c.at("created_at"))

meta = Table("meta", c.text("name", **KEY), c.sealed("value"))

workers = Table(  # `ahead_ms`: how far its machine's clock is ahead of the database's
    "workers", c.ident("id", **KEY), c.text("kind"), c.at("started_at"), c.at("heartbeat_at"), c.text("host", **NULL),
    c.big("ahead_ms", **NULL),
)  # fmt: skip

api_keys = Table(
    "api_keys",
    c.project(**KEY),  # 0: all projects
    c.ident("id", **KEY),
    c.sealed("hash", unique=True),  # project-wide uniqueness isn't enough: the key alone names its project
    c.text("name"),
    c.text("role"),
    c.at("created_at"),
    c.at("expires_at", **NULL),
    c.at("revoked_at", **NULL),
)

# --- people -----------------------------------------------------------------------------------------------------------

recipients = Table(
    "recipients",
    c.project(**KEY),
    c.text("id", **KEY),
    c.text("locale", **NULL),
    c.text("timezone", **NULL),
    c.text("attributes"),  # JSON
    c.text("quiet_hours"),  # JSON, as the API takes it
    c.text("delivery_windows"),  # JSON
    c.number("attention_budget", **NULL),
    c.number("policy_version"),
    c.at("created_at"),
    c.at("updated_at"),
)

#: A person's data key, wrapped by the key ring: a table of its own, so that it can be kept apart from backups.
recipient_keys = Table("recipient_keys", c.project(**KEY), c.text("recipient", **KEY), c.sealed("wrapped"))

contact_points = Table(
    "contact_points",
    c.project(**KEY),
    c.text("recipient", **KEY),
    c.ident("id", **KEY),
    c.text("channel"),
    c.text("kind"),
    c.sealed("sealed"),
    c.sealed("lookup"),
    c.text("label", **NULL),
    c.text("timezone", **NULL),
    c.text("locale", **NULL),
    c.text("country", **NULL),  # of a phone number: which providers may carry it
    c.text("source"),  # profile (email, phone of the recipient), device or contact
    c.at("created_at"),
    c.at("updated_at"),
    Index("contact_points_lookup", "project", "lookup"),  # who has this address: suppressions, pruning, moved devices
)

preferences = Table(
    "preferences",
    c.project(**KEY),
    c.text("recipient", **KEY),
    c.text("scope", **KEY),  # "" | "type:KEY" | "category:NAME"
    c.text("channel", **KEY),
    c.flag("enabled", **NULL),
    c.number("max_per_hour", **NULL),
    c.number("max_per_day", **NULL),
    c.text("on_limit", **NULL),
    c.text("digest", **NULL),
)

subscriptions = Table(
    "subscriptions",
    c.project(**KEY),
    c.text("topic", **KEY),
    c.text("recipient", **KEY),
    c.at("created_at"),
    Index("subscriptions_of", "project", "recipient"),  # erasure, a recipient's topics
)

suppressions = Table(
    "suppressions",
    c.project(**KEY),
    c.ident("id", **KEY),
    c.text("channel"),
    c.sealed("lookup"),
    c.sealed("sealed"),  # the address, under the ring's key: it may belong to no recipient
    c.text("cause"),
    c.at("created_at"),
    c.at("expires_at", **NULL),
    Index("suppressions_lookup", "project", "channel", "lookup", unique=True),
)

tenants = Table(
    "tenants",
    c.project(**KEY),
    c.text("id", **KEY),
    c.text("name"),
    c.text("preferences"),  # JSON
    c.text("branding"),  # JSON
    c.text("limits"),  # JSON
    c.number("policy_version"),  # raised when the preferences change: what waits is decided again
    c.at("updated_at"),
)

# --- workflows --------------------------------------------------------------------------------------------------------

workflow_versions = Table(
    "workflow_versions",
    c.project(**KEY),
    c.text("key", **KEY),
    c.number("version", **KEY),
    c.text("source"),  # file or api
    c.text("content"),  # JSON, self-contained
    c.sealed("content_hash"),
    c.at("created_at"),
)

# --- layer 1: events --------------------------------------------------------------------------------------------------

#: As queries must write it for an index to serve them.
UNFINISHED = "held_at IS NOT NULL OR unfinished IS NOT NULL"

events = Table(
    "events",
    c.project(**KEY),
    c.ident("id", **KEY),
    c.text("type"),
    c.sealed("data"),  # JSON under the ring's key
    c.text("actor", **NULL),
    c.text("tenant", **NULL),
    c.text("audience"),  # list, topic:KEY or broadcast
    c.text("workflows"),  # JSON [[key, version], ...]: a run keeps its versions
    c.small("priority", **NULL),
    c.at("accepted_at"),
    c.at("send_at", **NULL),
    c.at("expires_at", **NULL),
    c.at("cancelled_at", **NULL),
    c.at("held_at", **NULL),  # paused: nothing of it is decided or sent
    c.sealed("unfinished", **NULL),  # what is still to be done to its deliveries: see clarion.events.unfinished
    c.text("traceparent", **NULL),  # W3C Trace Context of the request that reported it
    # what is held or has to be gone on with; empty, as good as always
    Index("events_unfinished", "id", where=UNFINISHED),
    by_time="id",
)

idempotency = Table(
    "idempotency",
    c.project(**KEY),
    c.text("key", **KEY),
    c.sealed("hash"),
    c.ident("event_id"),
    c.at("expires_at"),
    Index("idempotency_expiry", "expires_at"),  # the sweeper's clean-up
)

shards = Table(
    "shards",
    c.project(**KEY),
    c.ident("event_id", **KEY),
    c.number("number", **KEY),
    c.small("priority"),
    c.text("members", **NULL),  # JSON list of recipient ids; null: a range of the topic's subscriptions
    c.text("after", **NULL),
    c.text("upto", **NULL),
    c.flag("done"),
    c.at("due_at"),
    c.number("recipients"),
    c.number("decided"),
    c.number("notifications"),
    c.small("tries"),  # how often it was taken
    c.text("share"),  # whose it is in the queue: tenant and workflow
    # work waiting to be decided; empty when there is none
    Index("shards_due", "priority", "share", "due_at", where="NOT done", where_sqlite="done = 0"),
    by_time="event_id",
)

#: Work that failed, and how often; tried often enough, it waits for a person (`clarion.decisions.parking`).
parked = Table(
    "parked",
    c.project(**KEY),
    c.text("job", **KEY),
    c.ident("subject", **KEY),  # the event; of a review the notification, of a digest its bucket
    c.number("number", **KEY),  # the shard; of a review the step
    c.text("error"),  # the class of the last error
    c.at("at"),
    c.small("tries"),
)

# --- layer 2: decisions -----------------------------------------------------------------------------------------------

#: As queries must write it for an index to serve them.
UNREAD = "inbox_seq IS NOT NULL AND read_at IS NULL AND archived_at IS NULL"
SNOOZED = "inbox_seq IS NOT NULL AND snoozed_until IS NOT NULL AND archived_at IS NULL"

notifications = Table(
    "notifications",
    c.project(**KEY),
    c.ident("id", **KEY),  # begins with the event's first 8 bytes: see clarion.model.ids
    c.ident("event_id"),
    c.text("workflow"),
    c.number("version"),
    c.text("recipient"),
    c.text("tenant", **NULL),
    c.text("category", **NULL),
    c.at("created_at"),
    c.at("seen_at", **NULL),
    c.at("read_at", **NULL),
    c.at("archived_at", **NULL),
    c.at("snoozed_until", **NULL),
    c.at("inbox_seq", **NULL),  # its place in the inbox, set when it came there
    c.sealed("inbox", **NULL),  # title, body, action_url under the person's data key
    Index("notifications_of", "project", "recipient", "id"),  # a person's notifications, newest first
    # a person's inbox in the order in which things came; nothing of what isn't in an inbox
    Index("notifications_inbox", "project", "recipient", "inbox_seq", where="inbox_seq IS NOT NULL"),
    # what is unread, however much else there is
    Index("notifications_unread", "project", "recipient", "inbox_seq", where=UNREAD),
    # what comes back by itself: the counters of `inboxes` don't know the time
    Index("notifications_snoozed", "project", "recipient", "snoozed_until", where=SNOOZED),
    by_time="id",
)

#: One row a person whose inbox holds something. Who changes the inbox holds the row: its numbers are always right.
inboxes = Table(
    "inboxes",
    c.project(**KEY),
    c.text("recipient", **KEY),
    c.at("epoch"),  # when it was made: an erased person's next inbox counts anew, and says so
    c.at("seq"),  # the last one given
    c.at("acts"),  # how often anything in it was changed by the person
    c.number("unseen"),  # these three without what is archived, with what is snoozed
    c.number("unread"),
    c.number("total"),
)

deliveries = Table(
    "deliveries",
    c.project(**KEY),
    c.ident("id", **KEY),  # begins with the notification's first 12 bytes: see clarion.model.ids
    c.ident("notification_id"),
    c.small("step"),
    c.text("channel"),
    c.text("state"),
    c.text("reason", **NULL),
    c.small("priority"),
    c.at("due_at", **NULL),
    c.ident("contact_id", **NULL),
    c.text("provider", **NULL),
    c.number("policy_version"),
    c.number("attempts"),
    c.number("provider_attempts"),  # counted ones with the present provider
    c.flag("possible_duplicate"),
    c.at("slot_at", **NULL),  # when its cap slot was stamped
    c.ident("lease", **NULL),  # the worker that is sending it
    c.text("reference", **NULL),  # the provider's id of what it accepted; kept where its receipts may be matched by it
    c.text("tried", **NULL),  # the providers that gave it up, by name, a space between
    c.small("heard", **NULL),  # which receipts came, a bit each: `clarion.deliveries.ranking`
    c.at("settled_at", **NULL),
    c.ident("bucket_id", **NULL),  # the digest that it is, or was, an item of
    c.big("share"),  # whose it is: `clarion.model.shares`
    # what a provider has to send, the most urgent first; empty when nothing waits
    Index("deliveries_due", "provider", "priority", "due_at", where="state = 'pending'"),
    # the same by share, so that they take turns
    Index("deliveries_turns", "provider", "priority", "share", "due_at", where="state = 'pending'"),
    Index("deliveries_deferred", "due_at", where="state = 'deferred'"),  # what waits to be decided again
    # the items of a digest
    Index("deliveries_gathered", "project", "bucket_id", where="bucket_id IS NOT NULL"),
    Index("deliveries_unknown", "settled_at", where="state = 'unknown'"),  # what nobody knows the outcome of
    # what goes to the next provider unless a receipt comes
    Index("deliveries_unheard", "due_at", where="state = 'sent' AND due_at IS NOT NULL"),
    # what a receipt without our own id is about
    Index("deliveries_reference", "provider", "reference", where="reference IS NOT NULL"),
    Index("deliveries_leased", "lease", where="state = 'sending'"),  # what the dead were sending
    by_time="id",
)

#: What was read elsewhere and is to be taken back from the devices that show it.
recalls = Table(
    "recalls",
    c.project(**KEY),
    c.ident("notification_id", **KEY),
    c.at("due_at"),
    c.number("tries"),
    Index("recalls_due", "due_at"),
)

dedupe_claims = Table(
    "dedupe_claims",
    c.project(**KEY),
    c.text("workflow", **KEY),
    c.text("recipient", **KEY),
    c.sealed("key_hash", **KEY),
    c.ident("event_id"),
    c.at("expires_at"),
    Index("dedupe_expiry", "expires_at"),  # the sweeper's clean-up
)

#: Open and closed digests, one row a channel. Their items are the deliveries that name them as their bucket.
digest_buckets = Table(
    "digest_buckets",
    c.project(**KEY),
    c.ident("id", **KEY),
    c.ident("run"),  # what the same event began to gather on other channels has the same one
    c.text("recipient"),
    c.text("workflow"),
    c.number("version"),  # that of the first item: a run keeps its version
    c.small("step"),
    c.small("begins"),  # waits from this step on lie ahead when it closes
    c.text("channel"),
    c.sealed("key_hash"),
    c.small("windows"),  # it has waited for with too few items, this one included
    c.at("opened_at"),
    c.at("closes_at"),
    c.at("closed_at", **NULL),
    c.ident("notification_id", **NULL),  # what it became
    c.number("items", **NULL),  # how many it tells of
    c.number("actor_count", **NULL),
    c.text("shown", **NULL),  # JSON: the events of the first and last items, and actors
    # at most one is open: who opens it wins
    Index(
        "digest_open",
        "project",
        "recipient",
        "workflow",
        "channel",
        "key_hash",
        unique=True,
        where="closed_at IS NULL",
    ),
    # what is due to close
    Index("digest_due", "closes_at", where="closed_at IS NULL"),
    # the digest behind a notification
    Index("digest_closed", "project", "notification_id", where="notification_id IS NOT NULL"),
)

# --- limits, embedded -------------------------------------------------------------------------------------------------

#: The last sends that a cap counts, packed as in `clarion.limits.rolling`; type and channel as in `Counter`.
cap_counters = Table(
    "cap_counters",
    c.project(**KEY),
    c.text("recipient", **KEY),
    c.text("channel", **KEY),
    c.text("type", **KEY),
    c.sealed("sends"),
)

# --- layer 3: how providers stand, for all workers --------------------------------------------------------------------

provider_states = Table(
    "provider_states",
    c.text("name", **KEY),
    c.text("state"),  # healthy, demoted or probing
    c.number("generation"),  # raised when it is restored: its health is counted anew
    c.at("since"),
    c.at("probe_at"),  # when it is probed next, while it is demoted
    c.number("probes"),  # accepted ones in a row
    c.at("paused_until"),  # it said that we are too fast
    c.number("accepted"),  # the figures of the last switch
    c.number("failed"),
)

# --- layer 3: what providers said too early ---------------------------------------------------------------------------

#: Receipts whose delivery's outcome isn't stored yet. They hold no address.
early_receipts = Table(
    "early_receipts",
    c.ident("id", **KEY),  # derived from what it says: told twice, it is kept once
    c.text("provider"),
    c.text("channel"),
    c.ident("delivery_id", **NULL),
    c.text("reference", **NULL),
    c.text("receipt"),  # JSON
    c.at("received_at"),
    c.at("due_at"),  # when it is matched again at the latest
    Index("early_receipts_delivery", "delivery_id"),  # an outcome's
    Index("early_receipts_reference", "provider", "reference"),
    Index("early_receipts_due", "due_at"),  # the sweeper's
)

# --- layer 3: what providers keep here --------------------------------------------------------------------------------

#: Webhook endpoints whose last attempts all failed; a success takes the row away (`clarion.deliveries.endpoints`).
failing_endpoints = Table(
    "failing_endpoints",
    c.project(**KEY),
    c.ident("contact_id", **KEY),
    c.at("first_at"),
    c.at("last_at"),
    c.number("failures"),
    Index("failing_endpoints_last", "last_at"),  # what is over, to be cleared
)

outbox = Table(
    "outbox",
    c.project(**KEY),
    c.ident("id", **KEY),  # derived from the delivery: capturing twice stores once
    c.ident("delivery_id"),
    c.text("recipient"),
    c.text("channel"),
    c.sealed("content"),  # to and parts as JSON, under the person's data key
    c.at("at"),
)

# --- the ledger and its read models -----------------------------------------------------------------------------------


def _facts(name: str, *more: Index, by_time: str | None = None) -> Table:
    return Table(
        name,
        # The order in which facts may be read: on PostgreSQL a reader stays below every running transaction's xid.
        c.big("xid", **KEY),
        c.big("position", **KEY),
        c.project(),
        c.at("at", key=by_time is not None),  # a key has to hold what its table is partitioned by
        c.text("kind"),
        c.small("version"),
        c.ident("subject", **NULL),
        c.text("recipient", **NULL),
        c.text("detail"),
        Index(f"{name}_subject", "project", "subject"),  # timelines
        *more,
        by_time=by_time,
    )


facts_operational = _facts("facts_operational", by_time="at")
facts_record = _facts(
    "facts_record",
    Index("facts_record_recipient", "project", "recipient"),  # a person's consent record
)

checkpoints = Table(
    "checkpoints",
    c.text("projector", **KEY),
    c.text("stream", **KEY),
    c.big("xid"),
    c.big("position"),
    c.at("updated_at"),
)

#: Where retention has cut a stream: facts before `at` are gone or going; what projections made of them stays.
baselines = Table("baselines", c.text("stream", **KEY), c.at("at"))

daily_stats = Table(
    "daily_stats",
    c.project(**KEY),
    c.text("day", **KEY),  # UTC, 2027-03-14
    c.text("workflow", **KEY),
    c.text("channel", **KEY),
    c.text("provider", **KEY),
    c.text("state", **KEY),
    c.text("reason", **KEY),
    c.big("count"),
)

provider_history = Table(
    "provider_history",
    c.project(**KEY),
    c.text("provider", **KEY),
    c.at("minute", **KEY),  # ms of its start
    c.text("outcome", **KEY),
    c.big("count"),
    c.big("took_ms"),  # summed
)

#: Tables that are partitioned by time on PostgreSQL, and the column that says when.
PARTITIONED = {table.name: table.by_time for table in TABLES.values() if table.by_time is not None}
