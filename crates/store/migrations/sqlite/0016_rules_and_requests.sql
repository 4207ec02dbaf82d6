-- Rules for what people write, and consent that is asked for by text: docs/decisions/0032-rules-and-requests.md.

-- The name of the rule that acted on the message.
ALTER TABLE inbound ADD COLUMN rule TEXT;

-- When a rule answered a person last: its bound.
CREATE TABLE rule_reply (
  account INTEGER NOT NULL,
  live INTEGER NOT NULL,
  recipient INTEGER NOT NULL,
  rule TEXT NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (account, live, recipient, rule)
) STRICT, WITHOUT ROWID;
CREATE INDEX rule_reply_age ON rule_reply (at);

-- Consent that a person was asked for by a message, whose text is in `wording`. purposes and channels have a bit for each, by
-- its number in `consent`; state is a place in the list of `consent_request`. answer is the inbound message that ended it.
CREATE TABLE consent_request (
  id INTEGER PRIMARY KEY,
  account INTEGER NOT NULL,
  live INTEGER NOT NULL,
  recipient INTEGER NOT NULL,
  sender TEXT NOT NULL,
  message INTEGER NOT NULL,
  purposes INTEGER NOT NULL,
  channels INTEGER NOT NULL,
  act INTEGER NOT NULL,
  wording BLOB NOT NULL,
  place TEXT,
  seller TEXT,
  programme TEXT,
  source TEXT NOT NULL,
  requested_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  state INTEGER NOT NULL,
  ended_at INTEGER,
  answer INTEGER
) STRICT;
CREATE UNIQUE INDEX consent_request_pending ON consent_request (account, live, recipient, sender) WHERE state = 0;
CREATE INDEX consent_request_recipient ON consent_request (account, live, recipient, id);
