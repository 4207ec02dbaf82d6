-- Rules for what people write, and consent that is asked for by text: docs/decisions/0032-rules-and-requests.md.

-- The name of the rule that acted on the message.
ALTER TABLE inbound ADD COLUMN rule TEXT;

-- When a rule answered a person last: its bound.
CREATE TABLE rule_reply (
  account BIGINT NOT NULL,
  live SMALLINT NOT NULL,
  recipient BIGINT NOT NULL,
  rule TEXT COLLATE "C" NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (account, live, recipient, rule)
);
CREATE INDEX rule_reply_age ON rule_reply (at);

-- Consent that a person was asked for by a message, whose text is in `wording`. purposes and channels have a bit for each, by
-- its number in `consent`; state is a place in the list of `consent_request`. answer is the inbound message that ended it.
CREATE TABLE consent_request (
  id BIGINT NOT NULL,
  account BIGINT NOT NULL,
  live SMALLINT NOT NULL,
  recipient BIGINT NOT NULL,
  sender TEXT COLLATE "C" NOT NULL,
  message BIGINT NOT NULL,
  purposes SMALLINT NOT NULL,
  channels SMALLINT NOT NULL,
  act SMALLINT NOT NULL,
  wording BYTEA NOT NULL,
  place TEXT,
  seller TEXT,
  programme TEXT,
  source TEXT NOT NULL,
  requested_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  state SMALLINT NOT NULL,
  ended_at BIGINT,
  answer BIGINT,
  PRIMARY KEY (id)
);
CREATE UNIQUE INDEX consent_request_pending ON consent_request (account, live, recipient, sender) WHERE state = 0;
CREATE INDEX consent_request_recipient ON consent_request (account, live, recipient, id);
