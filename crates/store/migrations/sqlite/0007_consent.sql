-- What people agreed to: docs/decisions/0022-consent.md.

-- The words that people were shown, once for each account, by their SHA-256.
CREATE TABLE wording (
  account INTEGER NOT NULL,
  hash BLOB NOT NULL,
  text TEXT NOT NULL,
  PRIMARY KEY (account, hash)
) STRICT, WITHOUT ROWID;

-- The ledger. Rows are only ever added. purpose, channel, act and method are places in the lists of `consent`.
CREATE TABLE consent (
  id INTEGER PRIMARY KEY,
  account INTEGER NOT NULL,
  live INTEGER NOT NULL,
  recipient INTEGER NOT NULL,
  purpose INTEGER NOT NULL,
  channel INTEGER NOT NULL,
  act INTEGER NOT NULL,
  given_at INTEGER NOT NULL,
  recorded_at INTEGER NOT NULL,
  expires_at INTEGER,
  method INTEGER NOT NULL,
  wording BLOB,
  place TEXT,
  seller TEXT,
  programme TEXT,
  ip TEXT,
  user_agent TEXT,
  attested_by TEXT,
  source TEXT NOT NULL
) STRICT;
CREATE INDEX consent_recipient ON consent (account, live, recipient, id);
