-- The road of a message. Hot rows are narrow, history is wide, and no secondary index stands on a column that
-- changes while a message is on its way: see docs/decisions/0003-tables.md.

CREATE TABLE account (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;

-- One row a message: what never changes, then its life. The id is the public one and sorts by time.
CREATE TABLE message (
  id INTEGER PRIMARY KEY,
  account INTEGER NOT NULL,
  live INTEGER NOT NULL,
  token INTEGER,
  batch INTEGER,
  purpose INTEGER NOT NULL,
  sender TEXT NOT NULL,
  recipient INTEGER NOT NULL,
  text TEXT,
  form INTEGER NOT NULL,
  segments INTEGER NOT NULL,
  connection INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  send_at INTEGER,
  expires_at INTEGER NOT NULL,
  callback INTEGER,
  reference TEXT,
  metadata TEXT,
  retry_of INTEGER,
  state INTEGER NOT NULL,
  until INTEGER,
  lane INTEGER,
  due_at INTEGER,
  attempt INTEGER NOT NULL,
  tries INTEGER NOT NULL,
  resends INTEGER NOT NULL,
  parts TEXT NOT NULL,
  failure TEXT,
  updated_at INTEGER NOT NULL
) STRICT;

-- One row for each message that is not final: the queue of a connection (lane = connection), or a moment at which
-- to look again (lane = 0; the row may be older than the moment in `message.until`, and is then moved).
CREATE TABLE due (
  lane INTEGER NOT NULL,
  priority INTEGER NOT NULL,
  due_at INTEGER NOT NULL,
  message INTEGER NOT NULL,
  expires_at INTEGER,
  PRIMARY KEY (lane, priority, due_at, message)
) STRICT, WITHOUT ROWID;
CREATE INDEX due_expiry ON due (expires_at) WHERE expires_at IS NOT NULL;

-- The carriers' ids of segments for which a receipt may still come.
CREATE TABLE outstanding (
  connection INTEGER NOT NULL,
  canonical TEXT NOT NULL,
  message INTEGER NOT NULL,
  segment INTEGER NOT NULL,
  carrier_id TEXT NOT NULL,
  PRIMARY KEY (connection, canonical, message, segment)
) STRICT, WITHOUT ROWID;

-- Receipts that came before the answer they belong to (or belong to nobody): one row for each form of their id.
CREATE TABLE parked (
  id INTEGER PRIMARY KEY,
  receipt INTEGER NOT NULL,
  connection INTEGER NOT NULL,
  canonical TEXT NOT NULL,
  body TEXT NOT NULL,
  parked_at INTEGER NOT NULL
) STRICT;
CREATE INDEX parked_canonical ON parked (connection, canonical);
CREATE INDEX parked_receipt ON parked (receipt);

CREATE TABLE batch (
  id INTEGER PRIMARY KEY,
  account INTEGER NOT NULL,
  live INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  asked INTEGER NOT NULL,
  last_message INTEGER NOT NULL
) STRICT;

CREATE TABLE idempotency (
  key BLOB PRIMARY KEY,
  fingerprint BLOB NOT NULL,
  answer BLOB NOT NULL,
  created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_age ON idempotency (created_at);

-- Facts, in the order of their commits: `seq` is the feed's cursor.
CREATE TABLE event (
  seq INTEGER PRIMARY KEY,
  account INTEGER NOT NULL,
  live INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  message INTEGER,
  inbound INTEGER,
  status INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  at INTEGER NOT NULL,
  due_at INTEGER,
  failure TEXT,
  raw TEXT
) STRICT;
-- Messages are young when things happen to them, so this grows at its right edge.
CREATE INDEX event_message ON event (message) WHERE message IS NOT NULL;

CREATE TABLE inbound (
  id INTEGER PRIMARY KEY,
  account INTEGER NOT NULL,
  live INTEGER NOT NULL,
  connection INTEGER NOT NULL,
  sender TEXT NOT NULL,
  recipient TEXT NOT NULL,
  text TEXT NOT NULL,
  part TEXT,
  at INTEGER NOT NULL,
  fingerprint BLOB NOT NULL
) STRICT;
CREATE INDEX inbound_fingerprint ON inbound (fingerprint);

-- Where customers are told.
CREATE TABLE endpoint (
  id INTEGER PRIMARY KEY,
  account INTEGER NOT NULL,
  live INTEGER NOT NULL,
  url TEXT NOT NULL,
  description TEXT NOT NULL,
  kinds INTEGER NOT NULL,
  callback_only INTEGER NOT NULL,
  secret BLOB NOT NULL,
  previous BLOB,
  previous_until INTEGER,
  disabled TEXT,
  failing_since INTEGER,
  created_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX endpoint_callback ON endpoint (account, live, url) WHERE callback_only = 1;

-- Open deliveries only; a lease is a due time in the future.
CREATE TABLE delivery (
  due_at INTEGER NOT NULL,
  event INTEGER NOT NULL,
  endpoint INTEGER NOT NULL,
  tries INTEGER NOT NULL,
  PRIMARY KEY (due_at, event, endpoint)
) STRICT, WITHOUT ROWID;

CREATE TABLE attempt (
  endpoint INTEGER NOT NULL,
  event INTEGER NOT NULL,
  number INTEGER NOT NULL,
  at INTEGER NOT NULL,
  took_ms INTEGER NOT NULL,
  status INTEGER,
  request TEXT NOT NULL,
  response TEXT NOT NULL,
  verdict INTEGER NOT NULL,
  retry_at INTEGER,
  PRIMARY KEY (endpoint, event, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE suppression (
  id INTEGER PRIMARY KEY,
  account INTEGER NOT NULL,
  live INTEGER NOT NULL,
  recipient INTEGER NOT NULL,
  reason INTEGER NOT NULL,
  source TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER,
  lifted_at INTEGER,
  lifted_why TEXT
) STRICT;
CREATE UNIQUE INDEX suppression_in_force ON suppression (account, live, recipient) WHERE lifted_at IS NULL;
CREATE INDEX suppression_recipient ON suppression (account, live, recipient, id);
CREATE INDEX suppression_realm ON suppression (account, live);

CREATE TABLE review (
  id INTEGER PRIMARY KEY,
  account INTEGER NOT NULL,
  live INTEGER NOT NULL,
  cause TEXT NOT NULL,
  message INTEGER NOT NULL,
  failure TEXT NOT NULL,
  opened_at INTEGER NOT NULL,
  decision INTEGER,
  decided_at INTEGER,
  decided_by TEXT
) STRICT;
CREATE INDEX review_open ON review (account, live, cause, id) WHERE decision IS NULL;
CREATE INDEX review_message ON review (message);
CREATE INDEX review_realm ON review (account, live);

CREATE TABLE token (
  id INTEGER PRIMARY KEY,
  lookup TEXT NOT NULL UNIQUE,
  hash BLOB NOT NULL,
  previous BLOB,
  previous_until INTEGER,
  account INTEGER NOT NULL,
  live INTEGER NOT NULL,
  scopes INTEGER NOT NULL,
  name TEXT NOT NULL,
  client INTEGER,
  created_at INTEGER NOT NULL,
  expires_at INTEGER,
  revoked_at INTEGER,
  last_used_at INTEGER,
  previous_used_at INTEGER,
  rate_per_minute INTEGER
) STRICT;
CREATE INDEX token_account ON token (account, live, id);
CREATE INDEX token_client ON token (client) WHERE client IS NOT NULL;

CREATE TABLE client (
  id INTEGER PRIMARY KEY,
  account INTEGER NOT NULL,
  live INTEGER NOT NULL,
  hash BLOB NOT NULL,
  scopes INTEGER NOT NULL,
  name TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  revoked_at INTEGER
) STRICT;

CREATE TABLE connection (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  live INTEGER NOT NULL,
  paused TEXT,
  UNIQUE (name, live)
) STRICT;

CREATE TABLE audit (
  id INTEGER PRIMARY KEY,
  account INTEGER NOT NULL,
  at INTEGER NOT NULL,
  who TEXT NOT NULL,
  action TEXT NOT NULL,
  subject TEXT NOT NULL,
  detail TEXT NOT NULL
) STRICT;
CREATE INDEX audit_account ON audit (account, id);

-- Single facts about the installation: `hold`.
CREATE TABLE setting (
  name TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
