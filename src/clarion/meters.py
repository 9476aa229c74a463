"""What one process counts about its own work, as Prometheus meters. A figure is told once a batch, never once a row.

What stands in the database (queues, leases, lags) isn't counted but asked for: `clarion.engine.backlog`. Every name is
explained in docs/operations.md; a test compares.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each of them, that nobody reads

_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)
_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)

#: How many things went through a stage together: events that committed, people decided, deliveries claimed, outcomes.
BATCH = Histogram("clarion_batch_size", "Rows of one batch, by stage", ["stage"], buckets=_SIZES)
#: How long a batch took, from its first read to its commit.
BATCH_SECONDS = Histogram("clarion_batch_seconds", "Seconds that one batch took, by stage", ["stage"], buckets=_SECONDS)
EVENTS = Counter("clarion_events_accepted", "Events stored; a repeat of a key isn't one")
ATTEMPTS = Counter("clarion_attempts", "Attempts that ended, by provider and outcome", ["provider", "outcome"])
RECEIPTS = Counter("clarion_receipts", "Receipts that came, by provider and event", ["provider", "event"])
LOST = Counter("clarion_receipts_unmatched", "Receipts about nothing that is known here", ["provider"])
CLOCK_SKEW = Gauge("clarion_clock_skew_seconds", "How far this machine's clock is ahead of the database's")
CLOCK_LEAD = Gauge("clarion_clock_lead_seconds", "How far this process's time is ahead of the clock that it follows")
CLOCK_STEPS = Counter("clarion_clock_steps", "Steps of the clock that this process follows")
FAILURES = Counter("clarion_work_failures", "Rounds of work that failed and are tried again, by kind of work", ["work"])
CONNECTIONS = Gauge("clarion_database_connections", "Connections to PostgreSQL that this process's pool holds")
POOL_SIZE = Gauge("clarion_database_pool_size", "Connections that this process's pool may hold")
SHORT = Gauge("clarion_database_waiting", "1: this process waits for a connection to PostgreSQL and gets none")
REFUSED = Counter("clarion_database_connections_refused", "Times that no connection to PostgreSQL came")
AWAY = Gauge("clarion_store_away", "1: doesn't answer and isn't asked (decisions wait for `limits`)", ["store"])

STAGES = ("accept", "decide", "claim", "record", "project")


def batch(stage: str, size: int, seconds: float) -> None:
    """Counts a batch that went through a stage."""
    BATCH.labels(stage).observe(size)
    BATCH_SECONDS.labels(stage).observe(seconds)
