-- Whom messages were sent to that count against a cap: docs/decisions/0027-further-reasons.md. A message has one turn, at the
-- moment at which it last went.

CREATE TABLE turn (
  account BIGINT NOT NULL,
  live SMALLINT NOT NULL,
  recipient BIGINT NOT NULL,
  message BIGINT NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (account, live, recipient, message)
);
CREATE INDEX turn_age ON turn (at);
