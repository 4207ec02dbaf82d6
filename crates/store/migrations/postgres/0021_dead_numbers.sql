-- Numbers that are dead: docs/decisions/0037-dead-numbers.md.

-- Messages in a row that did not reach a number: how many, when the first came back, when the last, and until when
-- that counts, which is at least as long as an entry that says so. A message that comes back
-- writes here, and what is delivered or heard ends the row; of most numbers there is none. The number comes first, since who writes
-- is alive for every account.
CREATE TABLE silence (
  recipient BIGINT NOT NULL,
  live SMALLINT NOT NULL,
  account BIGINT NOT NULL,
  messages INTEGER NOT NULL,
  since BIGINT NOT NULL,
  last_at BIGINT NOT NULL,
  until BIGINT NOT NULL,
  PRIMARY KEY (recipient, live, account)
);
CREATE INDEX silence_until ON silence (until);

-- 1 where the number is dead. Such an entry has the reason of one of which a carrier said that it is not in use.
ALTER TABLE suppression ADD COLUMN unreachable SMALLINT;
