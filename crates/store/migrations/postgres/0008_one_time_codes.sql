-- One-time codes: docs/decisions/0024-one-time-codes.md. The codes themselves are nowhere: a code follows from the number of
-- its first message, which is its id, and a key that lies outside of the database.

CREATE TABLE code (
  id BIGINT PRIMARY KEY,
  account BIGINT NOT NULL,
  live SMALLINT NOT NULL,
  recipient BIGINT NOT NULL,
  digits SMALLINT NOT NULL,
  mark INTEGER NOT NULL,
  reference TEXT,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  state SMALLINT NOT NULL,
  wrong SMALLINT NOT NULL,
  sends SMALLINT NOT NULL,
  sent_at BIGINT NOT NULL,
  message BIGINT NOT NULL
);
CREATE INDEX code_age ON code (expires_at);

-- How many were sent lately, and verified, by what they are counted by (a place in `velocity::Kind::ALL`): a window of
-- sixteen slots, of which `newest` is the number of the last.
CREATE TABLE code_count (
  account BIGINT NOT NULL,
  live SMALLINT NOT NULL,
  kind SMALLINT NOT NULL,
  key TEXT COLLATE "C" NOT NULL,
  newest BIGINT NOT NULL,
  slots BYTEA NOT NULL,
  ends_at BIGINT NOT NULL,
  PRIMARY KEY (account, live, kind, key)
);
CREATE INDEX code_count_age ON code_count (ends_at);

-- Prefixes that get no codes for a while.
CREATE TABLE code_stop (
  account BIGINT NOT NULL,
  live SMALLINT NOT NULL,
  prefix BIGINT NOT NULL,
  since BIGINT NOT NULL,
  until BIGINT NOT NULL,
  sends INTEGER NOT NULL,
  verified INTEGER NOT NULL,
  PRIMARY KEY (account, live, prefix)
);
CREATE INDEX code_stop_age ON code_stop (until);
