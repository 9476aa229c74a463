CREATE TABLE api_keys (
  project INTEGER NOT NULL, 
  id BYTEA NOT NULL, 
  hash BYTEA NOT NULL, 
  name TEXT COLLATE "C" NOT NULL, 
  role TEXT COLLATE "C" NOT NULL, 
  created_at BIGINT NOT NULL, 
  expires_at BIGINT, 
  revoked_at BIGINT, 
  PRIMARY KEY (project, id), 
  UNIQUE (hash)
);

CREATE TABLE baselines (
  stream TEXT COLLATE "C" NOT NULL, 
  at BIGINT NOT NULL, 
  PRIMARY KEY (stream)
);

CREATE TABLE cap_counters (
  project INTEGER NOT NULL, 
  recipient TEXT COLLATE "C" NOT NULL, 
  channel TEXT COLLATE "C" NOT NULL, 
  type TEXT COLLATE "C" NOT NULL, 
  sends BYTEA NOT NULL, 
  PRIMARY KEY (project, recipient, channel, type)
);

CREATE TABLE checkpoints (
  projector TEXT COLLATE "C" NOT NULL, 
  stream TEXT COLLATE "C" NOT NULL, 
  xid BIGINT NOT NULL, 
  position BIGINT NOT NULL, 
  updated_at BIGINT NOT NULL, 
  PRIMARY KEY (projector, stream)
);

CREATE TABLE contact_points (
  project INTEGER NOT NULL, 
  recipient TEXT COLLATE "C" NOT NULL, 
  id BYTEA NOT NULL, 
  channel TEXT COLLATE "C" NOT NULL, 
  kind TEXT COLLATE "C" NOT NULL, 
  sealed BYTEA NOT NULL, 
  lookup BYTEA NOT NULL, 
  label TEXT COLLATE "C", 
  timezone TEXT COLLATE "C", 
  locale TEXT COLLATE "C", 
  country TEXT COLLATE "C", 
  source TEXT COLLATE "C" NOT NULL, 
  created_at BIGINT NOT NULL, 
  updated_at BIGINT NOT NULL, 
  PRIMARY KEY (project, recipient, id)
);

CREATE INDEX contact_points_lookup ON contact_points (project, lookup);

CREATE TABLE daily_stats (
  project INTEGER NOT NULL, 
  day TEXT COLLATE "C" NOT NULL, 
  workflow TEXT COLLATE "C" NOT NULL, 
  channel TEXT COLLATE "C" NOT NULL, 
  provider TEXT COLLATE "C" NOT NULL, 
  state TEXT COLLATE "C" NOT NULL, 
  reason TEXT COLLATE "C" NOT NULL, 
  count BIGINT NOT NULL, 
  PRIMARY KEY (project, day, workflow, channel, provider, state, reason)
);

CREATE TABLE dedupe_claims (
  project INTEGER NOT NULL, 
  workflow TEXT COLLATE "C" NOT NULL, 
  recipient TEXT COLLATE "C" NOT NULL, 
  key_hash BYTEA NOT NULL, 
  event_id BYTEA NOT NULL, 
  expires_at BIGINT NOT NULL, 
  PRIMARY KEY (project, workflow, recipient, key_hash)
);

CREATE INDEX dedupe_expiry ON dedupe_claims (expires_at);

CREATE TABLE deliveries (
  project INTEGER NOT NULL, 
  id BYTEA NOT NULL, 
  notification_id BYTEA NOT NULL, 
  step SMALLINT NOT NULL, 
  channel TEXT COLLATE "C" NOT NULL, 
  state TEXT COLLATE "C" NOT NULL, 
  reason TEXT COLLATE "C", 
  priority SMALLINT NOT NULL, 
  due_at BIGINT, 
  contact_id BYTEA, 
  provider TEXT COLLATE "C", 
  policy_version INTEGER NOT NULL, 
  attempts INTEGER NOT NULL, 
  provider_attempts INTEGER NOT NULL, 
  possible_duplicate BOOLEAN NOT NULL, 
  slot_at BIGINT, 
  lease BYTEA, 
  reference TEXT COLLATE "C", 
  tried TEXT COLLATE "C", 
  heard SMALLINT, 
  settled_at BIGINT, 
  bucket_id BYTEA, 
  PRIMARY KEY (project, id)
)
 PARTITION BY RANGE (id);

CREATE INDEX deliveries_deferred ON deliveries (due_at) WHERE state = 'deferred';

CREATE INDEX deliveries_due ON deliveries (provider, priority, due_at) WHERE state = 'pending';

CREATE INDEX deliveries_gathered ON deliveries (project, bucket_id) WHERE bucket_id IS NOT NULL;

CREATE INDEX deliveries_leased ON deliveries (lease) WHERE state = 'sending';

CREATE INDEX deliveries_reference ON deliveries (provider, reference) WHERE reference IS NOT NULL;

CREATE INDEX deliveries_unheard ON deliveries (due_at) WHERE state = 'sent' AND due_at IS NOT NULL;

CREATE INDEX deliveries_unknown ON deliveries (settled_at) WHERE state = 'unknown';

CREATE TABLE digest_buckets (
  project INTEGER NOT NULL, 
  id BYTEA NOT NULL, 
  run BYTEA NOT NULL, 
  recipient TEXT COLLATE "C" NOT NULL, 
  workflow TEXT COLLATE "C" NOT NULL, 
  version INTEGER NOT NULL, 
  step SMALLINT NOT NULL, 
  begins SMALLINT NOT NULL, 
  channel TEXT COLLATE "C" NOT NULL, 
  key_hash BYTEA NOT NULL, 
  windows SMALLINT NOT NULL, 
  opened_at BIGINT NOT NULL, 
  closes_at BIGINT NOT NULL, 
  closed_at BIGINT, 
  notification_id BYTEA, 
  items INTEGER, 
  actor_count INTEGER, 
  shown TEXT COLLATE "C", 
  PRIMARY KEY (project, id)
);

CREATE INDEX digest_closed ON digest_buckets (project, notification_id) WHERE notification_id IS NOT NULL;

CREATE INDEX digest_due ON digest_buckets (closes_at) WHERE closed_at IS NULL;

CREATE UNIQUE INDEX digest_open ON digest_buckets (project, recipient, workflow, channel, key_hash) WHERE closed_at IS NULL;

CREATE TABLE early_receipts (
  id BYTEA NOT NULL, 
  provider TEXT COLLATE "C" NOT NULL, 
  channel TEXT COLLATE "C" NOT NULL, 
  delivery_id BYTEA, 
  reference TEXT COLLATE "C", 
  receipt TEXT COLLATE "C" NOT NULL, 
  received_at BIGINT NOT NULL, 
  due_at BIGINT NOT NULL, 
  PRIMARY KEY (id)
);

CREATE INDEX early_receipts_delivery ON early_receipts (delivery_id);

CREATE INDEX early_receipts_due ON early_receipts (due_at);

CREATE INDEX early_receipts_reference ON early_receipts (provider, reference);

CREATE TABLE events (
  project INTEGER NOT NULL, 
  id BYTEA NOT NULL, 
  type TEXT COLLATE "C" NOT NULL, 
  data BYTEA NOT NULL, 
  actor TEXT COLLATE "C", 
  tenant TEXT COLLATE "C", 
  audience TEXT COLLATE "C" NOT NULL, 
  workflows TEXT COLLATE "C" NOT NULL, 
  priority SMALLINT, 
  accepted_at BIGINT NOT NULL, 
  send_at BIGINT, 
  expires_at BIGINT, 
  cancelled_at BIGINT, 
  held_at BIGINT, 
  unfinished BYTEA, 
  traceparent TEXT COLLATE "C", 
  PRIMARY KEY (project, id)
)
 PARTITION BY RANGE (id);

CREATE INDEX events_unfinished ON events (id) WHERE held_at IS NOT NULL OR unfinished IS NOT NULL;

CREATE TABLE facts_operational (
  xid BIGINT NOT NULL, 
  position BIGINT NOT NULL, 
  project INTEGER NOT NULL, 
  at BIGINT NOT NULL, 
  kind TEXT COLLATE "C" NOT NULL, 
  version SMALLINT NOT NULL, 
  subject BYTEA, 
  recipient TEXT COLLATE "C", 
  detail TEXT COLLATE "C" NOT NULL, 
  PRIMARY KEY (xid, position, at)
)
 PARTITION BY RANGE (at);

CREATE INDEX facts_operational_subject ON facts_operational (project, subject);

CREATE TABLE facts_record (
  xid BIGINT NOT NULL, 
  position BIGINT NOT NULL, 
  project INTEGER NOT NULL, 
  at BIGINT NOT NULL, 
  kind TEXT COLLATE "C" NOT NULL, 
  version SMALLINT NOT NULL, 
  subject BYTEA, 
  recipient TEXT COLLATE "C", 
  detail TEXT COLLATE "C" NOT NULL, 
  PRIMARY KEY (xid, position)
);

CREATE INDEX facts_record_recipient ON facts_record (project, recipient);

CREATE INDEX facts_record_subject ON facts_record (project, subject);

CREATE TABLE failing_endpoints (
  project INTEGER NOT NULL, 
  contact_id BYTEA NOT NULL, 
  first_at BIGINT NOT NULL, 
  last_at BIGINT NOT NULL, 
  failures INTEGER NOT NULL, 
  PRIMARY KEY (project, contact_id)
);

CREATE INDEX failing_endpoints_last ON failing_endpoints (last_at);

CREATE TABLE idempotency (
  project INTEGER NOT NULL, 
  key TEXT COLLATE "C" NOT NULL, 
  hash BYTEA NOT NULL, 
  event_id BYTEA NOT NULL, 
  expires_at BIGINT NOT NULL, 
  PRIMARY KEY (project, key)
);

CREATE INDEX idempotency_expiry ON idempotency (expires_at);

CREATE TABLE inboxes (
  project INTEGER NOT NULL, 
  recipient TEXT COLLATE "C" NOT NULL, 
  epoch BIGINT NOT NULL, 
  seq BIGINT NOT NULL, 
  acts BIGINT NOT NULL, 
  unseen INTEGER NOT NULL, 
  unread INTEGER NOT NULL, 
  total INTEGER NOT NULL, 
  PRIMARY KEY (project, recipient)
);

CREATE TABLE meta (
  name TEXT COLLATE "C" NOT NULL, 
  value BYTEA NOT NULL, 
  PRIMARY KEY (name)
);

CREATE TABLE notifications (
  project INTEGER NOT NULL, 
  id BYTEA NOT NULL, 
  event_id BYTEA NOT NULL, 
  workflow TEXT COLLATE "C" NOT NULL, 
  version INTEGER NOT NULL, 
  recipient TEXT COLLATE "C" NOT NULL, 
  tenant TEXT COLLATE "C", 
  category TEXT COLLATE "C", 
  created_at BIGINT NOT NULL, 
  seen_at BIGINT, 
  read_at BIGINT, 
  archived_at BIGINT, 
  snoozed_until BIGINT, 
  inbox_seq BIGINT, 
  inbox BYTEA, 
  PRIMARY KEY (project, id)
)
 PARTITION BY RANGE (id);

CREATE INDEX notifications_inbox ON notifications (project, recipient, inbox_seq) WHERE inbox_seq IS NOT NULL;

CREATE INDEX notifications_of ON notifications (project, recipient, id);

CREATE INDEX notifications_snoozed ON notifications (project, recipient, snoozed_until) WHERE inbox_seq IS NOT NULL AND snoozed_until IS NOT NULL AND archived_at IS NULL;

CREATE INDEX notifications_unread ON notifications (project, recipient, inbox_seq) WHERE inbox_seq IS NOT NULL AND read_at IS NULL AND archived_at IS NULL;

CREATE TABLE outbox (
  project INTEGER NOT NULL, 
  id BYTEA NOT NULL, 
  delivery_id BYTEA NOT NULL, 
  recipient TEXT COLLATE "C" NOT NULL, 
  channel TEXT COLLATE "C" NOT NULL, 
  content BYTEA NOT NULL, 
  at BIGINT NOT NULL, 
  PRIMARY KEY (project, id)
);

CREATE TABLE parked (
  project INTEGER NOT NULL, 
  job TEXT COLLATE "C" NOT NULL, 
  subject BYTEA NOT NULL, 
  number INTEGER NOT NULL, 
  error TEXT COLLATE "C" NOT NULL, 
  at BIGINT NOT NULL, 
  PRIMARY KEY (project, job, subject, number)
);

CREATE TABLE preferences (
  project INTEGER NOT NULL, 
  recipient TEXT COLLATE "C" NOT NULL, 
  scope TEXT COLLATE "C" NOT NULL, 
  channel TEXT COLLATE "C" NOT NULL, 
  enabled BOOLEAN, 
  max_per_hour INTEGER, 
  max_per_day INTEGER, 
  on_limit TEXT COLLATE "C", 
  digest TEXT COLLATE "C", 
  PRIMARY KEY (project, recipient, scope, channel)
);

CREATE TABLE projects (
  id INTEGER NOT NULL, 
  key TEXT COLLATE "C" NOT NULL, 
  created_at BIGINT NOT NULL, 
  PRIMARY KEY (id), 
  UNIQUE (key)
);

CREATE TABLE provider_history (
  project INTEGER NOT NULL, 
  provider TEXT COLLATE "C" NOT NULL, 
  minute BIGINT NOT NULL, 
  outcome TEXT COLLATE "C" NOT NULL, 
  count BIGINT NOT NULL, 
  took_ms BIGINT NOT NULL, 
  PRIMARY KEY (project, provider, minute, outcome)
);

CREATE TABLE provider_states (
  name TEXT COLLATE "C" NOT NULL, 
  state TEXT COLLATE "C" NOT NULL, 
  generation INTEGER NOT NULL, 
  since BIGINT NOT NULL, 
  probe_at BIGINT NOT NULL, 
  probes INTEGER NOT NULL, 
  paused_until BIGINT NOT NULL, 
  accepted INTEGER NOT NULL, 
  failed INTEGER NOT NULL, 
  PRIMARY KEY (name)
);

CREATE TABLE recalls (
  project INTEGER NOT NULL, 
  notification_id BYTEA NOT NULL, 
  due_at BIGINT NOT NULL, 
  tries INTEGER NOT NULL, 
  PRIMARY KEY (project, notification_id)
);

CREATE INDEX recalls_due ON recalls (due_at);

CREATE TABLE recipient_keys (
  project INTEGER NOT NULL, 
  recipient TEXT COLLATE "C" NOT NULL, 
  wrapped BYTEA NOT NULL, 
  PRIMARY KEY (project, recipient)
);

CREATE TABLE recipients (
  project INTEGER NOT NULL, 
  id TEXT COLLATE "C" NOT NULL, 
  locale TEXT COLLATE "C", 
  timezone TEXT COLLATE "C", 
  attributes TEXT COLLATE "C" NOT NULL, 
  quiet_hours TEXT COLLATE "C" NOT NULL, 
  delivery_windows TEXT COLLATE "C" NOT NULL, 
  attention_budget INTEGER, 
  policy_version INTEGER NOT NULL, 
  created_at BIGINT NOT NULL, 
  updated_at BIGINT NOT NULL, 
  PRIMARY KEY (project, id)
);

CREATE TABLE shards (
  project INTEGER NOT NULL, 
  event_id BYTEA NOT NULL, 
  number INTEGER NOT NULL, 
  priority SMALLINT NOT NULL, 
  members TEXT COLLATE "C", 
  after TEXT COLLATE "C", 
  upto TEXT COLLATE "C", 
  done BOOLEAN NOT NULL, 
  due_at BIGINT NOT NULL, 
  recipients INTEGER NOT NULL, 
  decided INTEGER NOT NULL, 
  notifications INTEGER NOT NULL, 
  tries SMALLINT NOT NULL, 
  share TEXT COLLATE "C" NOT NULL, 
  PRIMARY KEY (project, event_id, number)
)
 PARTITION BY RANGE (event_id);

CREATE INDEX shards_due ON shards (priority, share, due_at) WHERE NOT done;

CREATE TABLE subscriptions (
  project INTEGER NOT NULL, 
  topic TEXT COLLATE "C" NOT NULL, 
  recipient TEXT COLLATE "C" NOT NULL, 
  created_at BIGINT NOT NULL, 
  PRIMARY KEY (project, topic, recipient)
);

CREATE INDEX subscriptions_of ON subscriptions (project, recipient);

CREATE TABLE suppressions (
  project INTEGER NOT NULL, 
  id BYTEA NOT NULL, 
  channel TEXT COLLATE "C" NOT NULL, 
  lookup BYTEA NOT NULL, 
  sealed BYTEA NOT NULL, 
  cause TEXT COLLATE "C" NOT NULL, 
  created_at BIGINT NOT NULL, 
  expires_at BIGINT, 
  PRIMARY KEY (project, id)
);

CREATE UNIQUE INDEX suppressions_lookup ON suppressions (project, channel, lookup);

CREATE TABLE tenants (
  project INTEGER NOT NULL, 
  id TEXT COLLATE "C" NOT NULL, 
  name TEXT COLLATE "C" NOT NULL, 
  preferences TEXT COLLATE "C" NOT NULL, 
  branding TEXT COLLATE "C" NOT NULL, 
  limits TEXT COLLATE "C" NOT NULL, 
  policy_version INTEGER NOT NULL, 
  updated_at BIGINT NOT NULL, 
  PRIMARY KEY (project, id)
);

CREATE TABLE workers (
  id BYTEA NOT NULL, 
  kind TEXT COLLATE "C" NOT NULL, 
  started_at BIGINT NOT NULL, 
  heartbeat_at BIGINT NOT NULL, 
  PRIMARY KEY (id)
);

CREATE TABLE workflow_versions (
  project INTEGER NOT NULL, 
  key TEXT COLLATE "C" NOT NULL, 
  version INTEGER NOT NULL, 
  source TEXT COLLATE "C" NOT NULL, 
  content TEXT COLLATE "C" NOT NULL, 
  content_hash BYTEA NOT NULL, 
  created_at BIGINT NOT NULL, 
  PRIMARY KEY (project, key, version)
);

CREATE TABLE events_default PARTITION OF events DEFAULT;

CREATE TABLE shards_default PARTITION OF shards DEFAULT;

CREATE TABLE notifications_default PARTITION OF notifications DEFAULT;

CREATE TABLE deliveries_default PARTITION OF deliveries DEFAULT;

CREATE TABLE facts_operational_default PARTITION OF facts_operational DEFAULT;

CREATE SEQUENCE facts_operational_position;

CREATE SEQUENCE facts_record_position;
