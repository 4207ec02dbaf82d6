-- Numbers that are dead: docs/decisions/0037-dead-numbers.md.

-- Messages in a row that did not reach a number: how many, when the first came back, and when the last. A message that comes back
-- writes here, and what is delivered or heard ends the row; of most numbers there is none. The number comes first, since who writes
-- is alive for every account.
CREATE TABLE silence (
  recipient BIGINT NOT NULL,
  live SMALLINT NOT NULL,
  account BIGINT NOT NULL,
  messages INTEGER NOT NULL,
  since BIGINT NOT NULL,
  last_at BIGINT NOT NULL,
  PRIMARY KEY (recipient, live, account)
);
CREATE INDEX silence_last ON silence (last_at);

-- 1 where the number is dead. Such an entry has the reason of one of which a carrier said that it is not in use.
ALTER TABLE suppression ADD COLUMN unreachable SMALLINT;
CREATE INDEX suppression_unreachable ON suppression (recipient, live) WHERE unreachable = 1 AND lifted_at IS NULL;
