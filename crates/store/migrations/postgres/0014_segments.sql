-- Segments of contacts, and what their queries ask of history: docs/decisions/0030-segments.md.

-- query is JSON.
CREATE TABLE segment (
  id BIGINT NOT NULL,
  account BIGINT NOT NULL,
  live SMALLINT NOT NULL,
  name TEXT NOT NULL COLLATE "C",
  description TEXT NOT NULL,
  query TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  PRIMARY KEY (id),
  UNIQUE (account, live, name)
);
CREATE INDEX segment_realm ON segment (account, live, id);

-- When something happened last with a number: kind is that of `segment::Touch`. Made of the event log, for realms where a
-- query asked for it; no message writes here.
CREATE TABLE touch (
  account BIGINT NOT NULL,
  live SMALLINT NOT NULL,
  number BIGINT NOT NULL,
  kind SMALLINT NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (account, live, number, kind)
);
CREATE INDEX touch_age ON touch (at);

-- How far the event log was read for that.
CREATE TABLE touch_place (
  account BIGINT NOT NULL,
  live SMALLINT NOT NULL,
  upto BIGINT NOT NULL,
  PRIMARY KEY (account, live)
);
