-- Whom messages were sent to that count against a cap: docs/decisions/0027-further-reasons.md. A message has one turn, at the
-- moment at which it last went.

CREATE TABLE turn (
  account INTEGER NOT NULL,
  live INTEGER NOT NULL,
  recipient INTEGER NOT NULL,
  message INTEGER NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (account, live, recipient, message)
) STRICT, WITHOUT ROWID;
CREATE INDEX turn_age ON turn (at);
