-- The road of a message. Hot rows are narrow, history is wide, and no secondary index stands on a column that
-- changes while a message is on its way: see docs/decisions/0003-tables.md and 0020-postgresql.md.
--
-- Three things differ from SQLite, and all three are about many rows:
-- * The account stands in the key of whatever belongs to one, so that a database that is spread over machines by
--   account can keep the keys. Ids are unique without it.
-- * Rows that are changed keep room on their page (fillfactor), so that a change writes no index.
-- * Rows that come and go are cleaned by their number and not by their share of the table, without pauses; and the
--   end of such a table is never cut off, because that would lock everybody out.
-- Texts that are compared are compared by their octets (COLLATE "C"): quicker, and the same on every system.

CREATE TABLE account (
  id BIGINT PRIMARY KEY,
  name TEXT NOT NULL,
  created_at BIGINT NOT NULL
);

-- One row a message: what never changes, then its life, which is at the end so that the log of a change is short.
-- The id is the public one and sorts by time.
CREATE TABLE message (
  id BIGINT NOT NULL,
  account BIGINT NOT NULL,
  token BIGINT,
  batch BIGINT,
  recipient BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  send_at BIGINT,
  expires_at BIGINT NOT NULL,
  callback BIGINT,
  retry_of BIGINT,
  form INTEGER NOT NULL,
  live SMALLINT NOT NULL,
  purpose SMALLINT NOT NULL,
  segments SMALLINT NOT NULL,
  sender TEXT NOT NULL,
  text TEXT,
  reference TEXT,
  metadata TEXT,
  connection BIGINT NOT NULL,
  until BIGINT,
  lane BIGINT,
  due_at BIGINT,
  updated_at BIGINT NOT NULL,
  attempt INTEGER NOT NULL,
  tries INTEGER NOT NULL,
  resends INTEGER NOT NULL,
  state SMALLINT NOT NULL,
  parts TEXT NOT NULL,
  failure TEXT,
  PRIMARY KEY (id, account)
) WITH (
  fillfactor = 60,
  autovacuum_vacuum_scale_factor = 0.05,
  autovacuum_vacuum_insert_scale_factor = 0.1,
  autovacuum_analyze_scale_factor = 0.05
);

-- One row for each message that is not final: the queue of a connection (lane = connection), or a moment at which
-- to look again (lane = 0; the row may be older than the moment in `message.until`, and is then moved).
CREATE TABLE due (
  lane BIGINT NOT NULL,
  due_at BIGINT NOT NULL,
  message BIGINT NOT NULL,
  account BIGINT NOT NULL,
  expires_at BIGINT,
  priority SMALLINT NOT NULL,
  PRIMARY KEY (lane, priority, due_at, message, account)
) WITH (
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 20000,
  autovacuum_vacuum_cost_delay = 0,
  vacuum_truncate = false
);
CREATE INDEX due_expiry ON due (expires_at, lane, priority, due_at, message) WHERE expires_at IS NOT NULL;

-- The carriers' ids of segments for which a receipt may still come.
CREATE TABLE outstanding (
  connection BIGINT NOT NULL,
  message BIGINT NOT NULL,
  account BIGINT NOT NULL,
  segment SMALLINT NOT NULL,
  canonical TEXT COLLATE "C" NOT NULL,
  carrier_id TEXT NOT NULL,
  PRIMARY KEY (connection, canonical, message, segment, account)
) WITH (
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 20000,
  autovacuum_vacuum_cost_delay = 0,
  vacuum_truncate = false
);

-- Receipts that came before the answer they belong to (or belong to nobody, and so to no account): one row for each
-- form of their id.
CREATE TABLE parked (
  id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  receipt BIGINT NOT NULL,
  connection BIGINT NOT NULL,
  parked_at BIGINT NOT NULL,
  canonical TEXT COLLATE "C" NOT NULL,
  body TEXT NOT NULL
);
CREATE INDEX parked_canonical ON parked (connection, canonical);
CREATE INDEX parked_receipt ON parked (receipt);

CREATE TABLE batch (
  id BIGINT NOT NULL,
  account BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  asked BIGINT NOT NULL,
  last_message BIGINT NOT NULL,
  live SMALLINT NOT NULL,
  PRIMARY KEY (id, account)
);

CREATE TABLE idempotency (
  key BYTEA NOT NULL,
  account BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  fingerprint BYTEA NOT NULL,
  answer BYTEA NOT NULL,
  PRIMARY KEY (key, account)
);
CREATE INDEX idempotency_age ON idempotency (created_at);

-- Facts, in the order of their commits: `seq` is the feed's cursor. They are added and never changed, so ranges of
-- `seq`, which are ranges of time, can become partitions.
CREATE TABLE event (
  seq BIGINT NOT NULL,
  account BIGINT NOT NULL,
  message BIGINT,
  inbound BIGINT,
  at BIGINT NOT NULL,
  due_at BIGINT,
  attempt INTEGER NOT NULL,
  live SMALLINT NOT NULL,
  kind SMALLINT NOT NULL,
  status SMALLINT NOT NULL,
  failure TEXT,
  raw TEXT,
  PRIMARY KEY (seq, account)
) WITH (autovacuum_vacuum_insert_scale_factor = 0.1);
-- Messages are young when things happen to them, so this grows at its right edge.
CREATE INDEX event_message ON event (message) WHERE message IS NOT NULL;

CREATE TABLE inbound (
  id BIGINT NOT NULL,
  account BIGINT NOT NULL,
  connection BIGINT NOT NULL,
  at BIGINT NOT NULL,
  live SMALLINT NOT NULL,
  sender TEXT NOT NULL,
  recipient TEXT NOT NULL,
  text TEXT NOT NULL,
  part TEXT,
  -- SHA-256: a text may be longer than a key of an index.
  fingerprint BYTEA NOT NULL,
  PRIMARY KEY (id, account)
);
CREATE INDEX inbound_fingerprint ON inbound (fingerprint);

-- Where customers are told.
CREATE TABLE endpoint (
  id BIGINT PRIMARY KEY,
  account BIGINT NOT NULL,
  live SMALLINT NOT NULL,
  url TEXT COLLATE "C" NOT NULL,
  description TEXT NOT NULL,
  kinds BIGINT NOT NULL,
  callback_only BOOLEAN NOT NULL,
  secret BYTEA NOT NULL,
  previous BYTEA,
  previous_until BIGINT,
  disabled TEXT,
  failing_since BIGINT,
  created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX endpoint_callback ON endpoint (account, live, url) WHERE callback_only;

-- Open deliveries only, in the order of their endpoints; a lease is a due time in the future.
CREATE TABLE delivery (
  endpoint BIGINT NOT NULL,
  due_at BIGINT NOT NULL,
  event BIGINT NOT NULL,
  account BIGINT NOT NULL,
  tries INTEGER NOT NULL,
  PRIMARY KEY (endpoint, due_at, event, account)
) WITH (
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 20000,
  autovacuum_vacuum_cost_delay = 0,
  vacuum_truncate = false
);

CREATE TABLE attempt (
  endpoint BIGINT NOT NULL,
  event BIGINT NOT NULL,
  account BIGINT NOT NULL,
  at BIGINT NOT NULL,
  retry_at BIGINT,
  number INTEGER NOT NULL,
  took_ms BIGINT NOT NULL,
  status INTEGER,
  verdict SMALLINT NOT NULL,
  request TEXT NOT NULL,
  response TEXT NOT NULL,
  PRIMARY KEY (endpoint, event, number, account)
) WITH (autovacuum_vacuum_insert_scale_factor = 0.1);

CREATE TABLE suppression (
  id BIGINT NOT NULL,
  account BIGINT NOT NULL,
  recipient BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  expires_at BIGINT,
  lifted_at BIGINT,
  live SMALLINT NOT NULL,
  reason SMALLINT NOT NULL,
  source TEXT NOT NULL,
  lifted_why TEXT,
  PRIMARY KEY (id, account)
);
CREATE UNIQUE INDEX suppression_in_force ON suppression (account, live, recipient) WHERE lifted_at IS NULL;
CREATE INDEX suppression_recipient ON suppression (account, live, recipient, id);
-- Spelled so that only a list of a realm can use it. To a planner without statistics every index on (account, live) is
-- as good as another, and the look before each acceptance must not read a realm's whole list.
CREATE INDEX suppression_realm ON suppression ((account * 2 + live), id);

CREATE TABLE review (
  id BIGINT NOT NULL,
  account BIGINT NOT NULL,
  message BIGINT NOT NULL,
  opened_at BIGINT NOT NULL,
  decided_at BIGINT,
  live SMALLINT NOT NULL,
  decision SMALLINT,
  cause TEXT COLLATE "C" NOT NULL,
  failure TEXT NOT NULL,
  decided_by TEXT,
  PRIMARY KEY (id, account)
);
CREATE INDEX review_open ON review (account, live, cause, id) WHERE decision IS NULL;
CREATE INDEX review_message ON review (message);
CREATE INDEX review_realm ON review ((account * 2 + live), id);

CREATE TABLE token (
  id BIGINT PRIMARY KEY,
  lookup TEXT COLLATE "C" NOT NULL UNIQUE,
  hash BYTEA NOT NULL,
  previous BYTEA,
  previous_until BIGINT,
  account BIGINT NOT NULL,
  live SMALLINT NOT NULL,
  scopes BIGINT NOT NULL,
  name TEXT NOT NULL,
  client BIGINT,
  created_at BIGINT NOT NULL,
  expires_at BIGINT,
  revoked_at BIGINT,
  last_used_at BIGINT,
  previous_used_at BIGINT,
  rate_per_minute BIGINT
);
CREATE INDEX token_account ON token (account, live, id);
CREATE INDEX token_client ON token (client) WHERE client IS NOT NULL;

CREATE TABLE client (
  id BIGINT PRIMARY KEY,
  account BIGINT NOT NULL,
  live SMALLINT NOT NULL,
  hash BYTEA NOT NULL,
  scopes BIGINT NOT NULL,
  name TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  revoked_at BIGINT
);

CREATE TABLE connection (
  id BIGINT PRIMARY KEY,
  name TEXT COLLATE "C" NOT NULL,
  live SMALLINT NOT NULL,
  paused TEXT,
  UNIQUE (name, live)
);

CREATE TABLE audit (
  id BIGINT NOT NULL,
  account BIGINT NOT NULL,
  at BIGINT NOT NULL,
  who TEXT NOT NULL,
  action TEXT NOT NULL,
  subject TEXT NOT NULL,
  detail TEXT NOT NULL,
  PRIMARY KEY (account, id)
);

-- Single facts about the installation: `hold`; who wrote last (`writer`); how often it was served (`served`).
CREATE TABLE setting (
  name TEXT COLLATE "C" PRIMARY KEY,
  value TEXT NOT NULL
);
