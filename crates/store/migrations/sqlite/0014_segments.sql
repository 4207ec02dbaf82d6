-- Segments of contacts, and what their queries ask of history: docs/decisions/0030-segments.md.

-- query is JSON.
CREATE TABLE segment (
  id INTEGER PRIMARY KEY,
  account INTEGER NOT NULL,
  live INTEGER NOT NULL,
  name TEXT NOT NULL,
  description TEXT NOT NULL,
  query TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  UNIQUE (account, live, name)
) STRICT;
CREATE INDEX segment_realm ON segment (account, live, id);

-- When something happened last with a number: kind is that of `segment::Touch`. Made of the event log, for realms where a
-- query asked for it; no message writes here.
CREATE TABLE touch (
  account INTEGER NOT NULL,
  live INTEGER NOT NULL,
  number INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (account, live, number, kind)
) STRICT, WITHOUT ROWID;
CREATE INDEX touch_age ON touch (at);

-- How far the event log was read for that.
CREATE TABLE touch_place (
  account INTEGER NOT NULL,
  live INTEGER NOT NULL,
  upto INTEGER NOT NULL,
  PRIMARY KEY (account, live)
) STRICT, WITHOUT ROWID;
