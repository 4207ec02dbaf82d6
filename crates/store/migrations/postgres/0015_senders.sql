-- Pools, limits of senders, and limits of what accounts spend: docs/decisions/0031-senders.md.

-- Which sender of a pool a person has. person is the digits of a phone number; at is when a message was last accepted so.
CREATE TABLE sticky (
  account BIGINT NOT NULL,
  live SMALLINT NOT NULL,
  pool TEXT COLLATE "C" NOT NULL,
  person BIGINT NOT NULL,
  sender TEXT NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (account, live, person, pool)
);
CREATE INDEX sticky_age ON sticky (at);

-- How many segments went in a day, by a sender or a brand. day is its beginning.
CREATE TABLE quota (
  live SMALLINT NOT NULL,
  name TEXT COLLATE "C" NOT NULL,
  day BIGINT NOT NULL,
  segments BIGINT NOT NULL,
  PRIMARY KEY (live, name, day)
);
CREATE INDEX quota_age ON quota (day);

-- What an account spent, by prices of the configuration: millionths. period: 0 a day, 1 a month; begins is its beginning.
CREATE TABLE spend (
  account BIGINT NOT NULL,
  period SMALLINT NOT NULL,
  begins BIGINT NOT NULL,
  amount BIGINT NOT NULL,
  PRIMARY KEY (account, period, begins)
);
CREATE INDEX spend_age ON spend (begins);
