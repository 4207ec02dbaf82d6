-- Pools, limits of senders, and limits of what accounts spend: docs/decisions/0031-senders.md.

-- Which sender of a pool a person has. person is the digits of a phone number; at is when a message was last accepted so.
CREATE TABLE sticky (
  account INTEGER NOT NULL,
  live INTEGER NOT NULL,
  pool TEXT NOT NULL,
  person INTEGER NOT NULL,
  sender TEXT NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (account, live, person, pool)
) STRICT, WITHOUT ROWID;
CREATE INDEX sticky_age ON sticky (at);

-- How many segments went in a day, by a sender or a brand. day is its beginning.
CREATE TABLE quota (
  live INTEGER NOT NULL,
  name TEXT NOT NULL,
  day INTEGER NOT NULL,
  segments INTEGER NOT NULL,
  PRIMARY KEY (live, name, day)
) STRICT, WITHOUT ROWID;
CREATE INDEX quota_age ON quota (day);

-- What an account spent, by prices of the configuration: millionths. period: 0 a day, 1 a month; begins is its beginning.
CREATE TABLE spend (
  account INTEGER NOT NULL,
  period INTEGER NOT NULL,
  begins INTEGER NOT NULL,
  amount INTEGER NOT NULL,
  PRIMARY KEY (account, period, begins)
) STRICT, WITHOUT ROWID;
CREATE INDEX spend_age ON spend (begins);
