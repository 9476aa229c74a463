CREATE TABLE api_keys (
  project INTEGER NOT NULL, 
  id BLOB NOT NULL, 
  hash BLOB NOT NULL, 
  name TEXT NOT NULL, 
  role TEXT NOT NULL, 
  created_at BIGINT NOT NULL, 
  expires_at BIGINT, 
  revoked_at BIGINT, 
  PRIMARY KEY (project, id), 
  UNIQUE (hash)
)
 WITHOUT ROWID;

CREATE TABLE baselines (
  stream TEXT NOT NULL, 
  at BIGINT NOT NULL, 
  PRIMARY KEY (stream)
)
 WITHOUT ROWID;

CREATE TABLE cap_counters (
  project INTEGER NOT NULL, 
  recipient TEXT NOT NULL, 
  channel TEXT NOT NULL, 
  type TEXT NOT NULL, 
  sends BLOB NOT NULL, 
  PRIMARY KEY (project, recipient, channel, type)
)
 WITHOUT ROWID;

CREATE TABLE checkpoints (
  projector TEXT NOT NULL, 
  stream TEXT NOT NULL, 
  xid BIGINT NOT NULL, 
  position BIGINT NOT NULL, 
  updated_at BIGINT NOT NULL, 
  PRIMARY KEY (projector, stream)
)
 WITHOUT ROWID;

CREATE TABLE contact_points (
  project INTEGER NOT NULL, 
  recipient TEXT NOT NULL, 
  id BLOB NOT NULL, 
  channel TEXT NOT NULL, 
  kind TEXT NOT NULL, 
  sealed BLOB NOT NULL, 
  lookup BLOB NOT NULL, 
  label TEXT, 
  timezone TEXT, 
  locale TEXT, 
  country TEXT, 
  source TEXT NOT NULL, 
  created_at BIGINT NOT NULL, 
  updated_at BIGINT NOT NULL, 
  PRIMARY KEY (project, recipient, id)
)
 WITHOUT ROWID;

CREATE INDEX contact_points_lookup ON contact_points (project, lookup);

CREATE TABLE daily_stats (
  project INTEGER NOT NULL, 
  day TEXT NOT NULL, 
  workflow TEXT NOT NULL, 
  channel TEXT NOT NULL, 
  provider TEXT NOT NULL, 
  state TEXT NOT NULL, 
  reason TEXT NOT NULL, 
  count BIGINT NOT NULL, 
  PRIMARY KEY (project, day, workflow, channel, provider, state, reason)
)
 WITHOUT ROWID;

CREATE TABLE dedupe_claims (
  project INTEGER NOT NULL, 
  workflow TEXT NOT NULL, 
  recipient TEXT NOT NULL, 
  key_hash BLOB NOT NULL, 
  event_id BLOB NOT NULL, 
  expires_at BIGINT NOT NULL, 
  PRIMARY KEY (project, workflow, recipient, key_hash)
)
 WITHOUT ROWID;

CREATE INDEX dedupe_expiry ON dedupe_claims (expires_at);

CREATE TABLE deliveries (
  project INTEGER NOT NULL, 
  id BLOB NOT NULL, 
  notification_id BLOB NOT NULL, 
  step SMALLINT NOT NULL, 
  channel TEXT NOT NULL, 
  state TEXT NOT NULL, 
  reason TEXT, 
  priority SMALLINT NOT NULL, 
  due_at BIGINT, 
  contact_id BLOB, 
  provider TEXT, 
  policy_version INTEGER NOT NULL, 
  attempts INTEGER NOT NULL, 
  provider_attempts INTEGER NOT NULL, 
  possible_duplicate BOOLEAN NOT NULL, 
  slot_at BIGINT, 
  lease BLOB, 
  reference TEXT, 
  tried TEXT, 
  heard SMALLINT, 
  settled_at BIGINT, 
  bucket_id BLOB, 
  PRIMARY KEY (project, id)
)
 WITHOUT ROWID;

CREATE INDEX deliveries_deferred ON deliveries (due_at) WHERE state = 'deferred';

CREATE INDEX deliveries_due ON deliveries (provider, priority, due_at) WHERE state = 'pending';

CREATE INDEX deliveries_gathered ON deliveries (project, bucket_id) WHERE bucket_id IS NOT NULL;

CREATE INDEX deliveries_leased ON deliveries (lease) WHERE state = 'sending';

CREATE INDEX deliveries_reference ON deliveries (provider, reference) WHERE reference IS NOT NULL;

CREATE INDEX deliveries_unheard ON deliveries (due_at) WHERE state = 'sent' AND due_at IS NOT NULL;

CREATE INDEX deliveries_unknown ON deliveries (settled_at) WHERE state = 'unknown';

CREATE TABLE digest_buckets (
  project INTEGER NOT NULL, 
  id BLOB NOT NULL, 
  run BLOB NOT NULL, 
  recipient TEXT NOT NULL, 
  workflow TEXT NOT NULL, 
  version INTEGER NOT NULL, 
  step SMALLINT NOT NULL, 
  begins SMALLINT NOT NULL, 
  channel TEXT NOT NULL, 
  key_hash BLOB NOT NULL, 
  windows SMALLINT NOT NULL, 
  opened_at BIGINT NOT NULL, 
  closes_at BIGINT NOT NULL, 
  closed_at BIGINT, 
  notification_id BLOB, 
  items INTEGER, 
  actor_count INTEGER, 
  shown TEXT, 
  PRIMARY KEY (project, id)
)
 WITHOUT ROWID;

CREATE INDEX digest_closed ON digest_buckets (project, notification_id) WHERE notification_id IS NOT NULL;

CREATE INDEX digest_due ON digest_buckets (closes_at) WHERE closed_at IS NULL;

CREATE UNIQUE INDEX digest_open ON digest_buckets (project, recipient, workflow, channel, key_hash) WHERE closed_at IS NULL;

CREATE TABLE early_receipts (
  id BLOB NOT NULL, 
  provider TEXT NOT NULL, 
  channel TEXT NOT NULL, 
  delivery_id BLOB, 
  reference TEXT, 
  receipt TEXT NOT NULL, 
  received_at BIGINT NOT NULL, 
  due_at BIGINT NOT NULL, 
  PRIMARY KEY (id)
)
 WITHOUT ROWID;

CREATE INDEX early_receipts_delivery ON early_receipts (delivery_id);

CREATE INDEX early_receipts_due ON early_receipts (due_at);

CREATE INDEX early_receipts_reference ON early_receipts (provider, reference);

CREATE TABLE events (
  project INTEGER NOT NULL, 
  id BLOB NOT NULL, 
  type TEXT NOT NULL, 
  data BLOB NOT NULL, 
  actor TEXT, 
  tenant TEXT, 
  audience TEXT NOT NULL, 
  workflows TEXT NOT NULL, 
  priority SMALLINT, 
  accepted_at BIGINT NOT NULL, 
  send_at BIGINT, 
  expires_at BIGINT, 
  cancelled_at BIGINT, 
  held_at BIGINT, 
  unfinished BLOB, 
  traceparent TEXT, 
  PRIMARY KEY (project, id)
)
 WITHOUT ROWID;

CREATE INDEX events_unfinished ON events (id) WHERE held_at IS NOT NULL OR unfinished IS NOT NULL;

CREATE TABLE facts_operational (
  xid BIGINT NOT NULL, 
  position BIGINT NOT NULL, 
  project INTEGER NOT NULL, 
  at BIGINT NOT NULL, 
  kind TEXT NOT NULL, 
  version SMALLINT NOT NULL, 
  subject BLOB, 
  recipient TEXT, 
  detail TEXT NOT NULL, 
  PRIMARY KEY (xid, position, at)
)
 WITHOUT ROWID;

CREATE INDEX facts_operational_subject ON facts_operational (project, subject);

CREATE TABLE facts_record (
  xid BIGINT NOT NULL, 
  position BIGINT NOT NULL, 
  project INTEGER NOT NULL, 
  at BIGINT NOT NULL, 
  kind TEXT NOT NULL, 
  version SMALLINT NOT NULL, 
  subject BLOB, 
  recipient TEXT, 
  detail TEXT NOT NULL, 
  PRIMARY KEY (xid, position)
)
 WITHOUT ROWID;

CREATE INDEX facts_record_recipient ON facts_record (project, recipient);

CREATE INDEX facts_record_subject ON facts_record (project, subject);

CREATE TABLE failing_endpoints (
  project INTEGER NOT NULL, 
  contact_id BLOB NOT NULL, 
  first_at BIGINT NOT NULL, 
  last_at BIGINT NOT NULL, 
  failures INTEGER NOT NULL, 
  PRIMARY KEY (project, contact_id)
)
 WITHOUT ROWID;

CREATE INDEX failing_endpoints_last ON failing_endpoints (last_at);

CREATE TABLE idempotency (
  project INTEGER NOT NULL, 
  "key" TEXT NOT NULL, 
  hash BLOB NOT NULL, 
  event_id BLOB NOT NULL, 
  expires_at BIGINT NOT NULL, 
  PRIMARY KEY (project, "key")
)
 WITHOUT ROWID;

CREATE INDEX idempotency_expiry ON idempotency (expires_at);

CREATE TABLE inboxes (
  project INTEGER NOT NULL, 
  recipient TEXT NOT NULL, 
  epoch BIGINT NOT NULL, 
  seq BIGINT NOT NULL, 
  acts BIGINT NOT NULL, 
  unseen INTEGER NOT NULL, 
  unread INTEGER NOT NULL, 
  total INTEGER NOT NULL, 
  PRIMARY KEY (project, recipient)
)
 WITHOUT ROWID;

CREATE TABLE meta (
  name TEXT NOT NULL, 
  value BLOB NOT NULL, 
  PRIMARY KEY (name)
)
 WITHOUT ROWID;

CREATE TABLE notifications (
  project INTEGER NOT NULL, 
  id BLOB NOT NULL, 
  event_id BLOB NOT NULL, 
  workflow TEXT NOT NULL, 
  version INTEGER NOT NULL, 
  recipient TEXT NOT NULL, 
  tenant TEXT, 
  category TEXT, 
  created_at BIGINT NOT NULL, 
  seen_at BIGINT, 
  read_at BIGINT, 
  archived_at BIGINT, 
  snoozed_until BIGINT, 
  inbox_seq BIGINT, 
  inbox BLOB, 
  PRIMARY KEY (project, id)
)
 WITHOUT ROWID;

CREATE INDEX notifications_inbox ON notifications (project, recipient, inbox_seq) WHERE inbox_seq IS NOT NULL;

CREATE INDEX notifications_of ON notifications (project, recipient, id);

CREATE INDEX notifications_snoozed ON notifications (project, recipient, snoozed_until) WHERE inbox_seq IS NOT NULL AND snoozed_until IS NOT NULL AND archived_at IS NULL;

CREATE INDEX notifications_unread ON notifications (project, recipient, inbox_seq) WHERE inbox_seq IS NOT NULL AND read_at IS NULL AND archived_at IS NULL;

CREATE TABLE outbox (
  project INTEGER NOT NULL, 
  id BLOB NOT NULL, 
  delivery_id BLOB NOT NULL, 
  recipient TEXT NOT NULL, 
  channel TEXT NOT NULL, 
  content BLOB NOT NULL, 
  at BIGINT NOT NULL, 
  PRIMARY KEY (project, id)
)
 WITHOUT ROWID;

CREATE TABLE parked (
  project INTEGER NOT NULL, 
  job TEXT NOT NULL, 
  subject BLOB NOT NULL, 
  number INTEGER NOT NULL, 
  error TEXT NOT NULL, 
  at BIGINT NOT NULL, 
  PRIMARY KEY (project, job, subject, number)
)
 WITHOUT ROWID;

CREATE TABLE preferences (
  project INTEGER NOT NULL, 
  recipient TEXT NOT NULL, 
  scope TEXT NOT NULL, 
  channel TEXT NOT NULL, 
  enabled BOOLEAN, 
  max_per_hour INTEGER, 
  max_per_day INTEGER, 
  on_limit TEXT, 
  digest TEXT, 
  PRIMARY KEY (project, recipient, scope, channel)
)
 WITHOUT ROWID;

CREATE TABLE projects (
  id INTEGER NOT NULL, 
  "key" TEXT NOT NULL, 
  created_at BIGINT NOT NULL, 
  PRIMARY KEY (id), 
  UNIQUE ("key")
)
 WITHOUT ROWID;

CREATE TABLE provider_history (
  project INTEGER NOT NULL, 
  provider TEXT NOT NULL, 
  minute BIGINT NOT NULL, 
  outcome TEXT NOT NULL, 
  count BIGINT NOT NULL, 
  took_ms BIGINT NOT NULL, 
  PRIMARY KEY (project, provider, minute, outcome)
)
 WITHOUT ROWID;

CREATE TABLE provider_states (
  name TEXT NOT NULL, 
  state TEXT NOT NULL, 
  generation INTEGER NOT NULL, 
  since BIGINT NOT NULL, 
  probe_at BIGINT NOT NULL, 
  probes INTEGER NOT NULL, 
  paused_until BIGINT NOT NULL, 
  accepted INTEGER NOT NULL, 
  failed INTEGER NOT NULL, 
  PRIMARY KEY (name)
)
 WITHOUT ROWID;

CREATE TABLE recalls (
  project INTEGER NOT NULL, 
  notification_id BLOB NOT NULL, 
  due_at BIGINT NOT NULL, 
  tries INTEGER NOT NULL, 
  PRIMARY KEY (project, notification_id)
)
 WITHOUT ROWID;

CREATE INDEX recalls_due ON recalls (due_at);

CREATE TABLE recipient_keys (
  project INTEGER NOT NULL, 
  recipient TEXT NOT NULL, 
  wrapped BLOB NOT NULL, 
  PRIMARY KEY (project, recipient)
)
 WITHOUT ROWID;

CREATE TABLE recipients (
  project INTEGER NOT NULL, 
  id TEXT NOT NULL, 
  locale TEXT, 
  timezone TEXT, 
  attributes TEXT NOT NULL, 
  quiet_hours TEXT NOT NULL, 
  delivery_windows TEXT NOT NULL, 
  attention_budget INTEGER, 
  policy_version INTEGER NOT NULL, 
  created_at BIGINT NOT NULL, 
  updated_at BIGINT NOT NULL, 
  PRIMARY KEY (project, id)
)
 WITHOUT ROWID;

CREATE TABLE shards (
  project INTEGER NOT NULL, 
  event_id BLOB NOT NULL, 
  number INTEGER NOT NULL, 
  priority SMALLINT NOT NULL, 
  members TEXT, 
  "after" TEXT, 
  upto TEXT, 
  done BOOLEAN NOT NULL, 
  due_at BIGINT NOT NULL, 
  recipients INTEGER NOT NULL, 
  decided INTEGER NOT NULL, 
  notifications INTEGER NOT NULL, 
  tries SMALLINT NOT NULL, 
  share TEXT NOT NULL, 
  PRIMARY KEY (project, event_id, number)
)
 WITHOUT ROWID;

CREATE INDEX shards_due ON shards (priority, share, due_at) WHERE done = 0;

CREATE TABLE subscriptions (
  project INTEGER NOT NULL, 
  topic TEXT NOT NULL, 
  recipient TEXT NOT NULL, 
  created_at BIGINT NOT NULL, 
  PRIMARY KEY (project, topic, recipient)
)
 WITHOUT ROWID;

CREATE INDEX subscriptions_of ON subscriptions (project, recipient);

CREATE TABLE suppressions (
  project INTEGER NOT NULL, 
  id BLOB NOT NULL, 
  channel TEXT NOT NULL, 
  lookup BLOB NOT NULL, 
  sealed BLOB NOT NULL, 
  cause TEXT NOT NULL, 
  created_at BIGINT NOT NULL, 
  expires_at BIGINT, 
  PRIMARY KEY (project, id)
)
 WITHOUT ROWID;

CREATE UNIQUE INDEX suppressions_lookup ON suppressions (project, channel, lookup);

CREATE TABLE tenants (
  project INTEGER NOT NULL, 
  id TEXT NOT NULL, 
  name TEXT NOT NULL, 
  preferences TEXT NOT NULL, 
  branding TEXT NOT NULL, 
  limits TEXT NOT NULL, 
  policy_version INTEGER NOT NULL, 
  updated_at BIGINT NOT NULL, 
  PRIMARY KEY (project, id)
)
 WITHOUT ROWID;

CREATE TABLE workers (
  id BLOB NOT NULL, 
  kind TEXT NOT NULL, 
  started_at BIGINT NOT NULL, 
  heartbeat_at BIGINT NOT NULL, 
  PRIMARY KEY (id)
)
 WITHOUT ROWID;

CREATE TABLE workflow_versions (
  project INTEGER NOT NULL, 
  "key" TEXT NOT NULL, 
  version INTEGER NOT NULL, 
  source TEXT NOT NULL, 
  content TEXT NOT NULL, 
  content_hash BLOB NOT NULL, 
  created_at BIGINT NOT NULL, 
  PRIMARY KEY (project, "key", version)
)
 WITHOUT ROWID;
