-- What people agreed to: docs/decisions/0022-consent.md.

-- The words that people were shown, once for each account, by their SHA-256.
CREATE TABLE wording (
  account BIGINT NOT NULL,
  hash BYTEA NOT NULL,
  text TEXT NOT NULL,
  PRIMARY KEY (account, hash)
);

-- The ledger. Rows are only ever added. purpose, channel, act and method are places in the lists of `consent`.
CREATE TABLE consent (
  id BIGINT NOT NULL,
  account BIGINT NOT NULL,
  live SMALLINT NOT NULL,
  recipient BIGINT NOT NULL,
  purpose SMALLINT NOT NULL,
  channel SMALLINT NOT NULL,
  act SMALLINT NOT NULL,
  given_at BIGINT NOT NULL,
  recorded_at BIGINT NOT NULL,
  expires_at BIGINT,
  method SMALLINT NOT NULL,
  wording BYTEA,
  place TEXT,
  seller TEXT,
  programme TEXT,
  ip TEXT,
  user_agent TEXT,
  attested_by TEXT,
  source TEXT NOT NULL,
  PRIMARY KEY (id, account)
);
CREATE INDEX consent_recipient ON consent (account, live, recipient, id);
