-- One-time codes: docs/decisions/0024-one-time-codes.md. The codes themselves are nowhere: a code follows from the number of
-- its first message, which is its id, and a key that lies outside of the database.

CREATE TABLE code (
  id INTEGER PRIMARY KEY,
  account INTEGER NOT NULL,
  live INTEGER NOT NULL,
  recipient INTEGER NOT NULL,
  digits INTEGER NOT NULL,
  mark INTEGER NOT NULL,
  reference TEXT,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  state INTEGER NOT NULL,
  wrong INTEGER NOT NULL,
  sends INTEGER NOT NULL,
  sent_at INTEGER NOT NULL,
  message INTEGER NOT NULL
) STRICT;
CREATE INDEX code_age ON code (expires_at);

-- How many were sent lately, and verified, by what they are counted by (a place in `velocity::Kind::ALL`): a window of
-- sixteen slots, of which `newest` is the number of the last.
CREATE TABLE code_count (
  account INTEGER NOT NULL,
  live INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  key TEXT NOT NULL,
  newest INTEGER NOT NULL,
  slots BLOB NOT NULL,
  ends_at INTEGER NOT NULL,
  PRIMARY KEY (account, live, kind, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX code_count_age ON code_count (ends_at);

-- Prefixes that get no codes for a while.
CREATE TABLE code_stop (
  account INTEGER NOT NULL,
  live INTEGER NOT NULL,
  prefix INTEGER NOT NULL,
  since INTEGER NOT NULL,
  until INTEGER NOT NULL,
  sends INTEGER NOT NULL,
  verified INTEGER NOT NULL,
  PRIMARY KEY (account, live, prefix)
) STRICT, WITHOUT ROWID;
CREATE INDEX code_stop_age ON code_stop (until);
