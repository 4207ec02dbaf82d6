-- What people ask by text: docs/decisions/0020-opt-out-by-text.md.

-- What the message asks: the place of its class in `keyword::Class::ALL`.
ALTER TABLE inbound ADD COLUMN keyword INTEGER NOT NULL DEFAULT 0;

-- Of a message that answers by itself: what it says (a place in `reply::Kind::ALL`), and the inbound message that it
-- answers.
ALTER TABLE message ADD COLUMN reply INTEGER;
ALTER TABLE message ADD COLUMN reply_to INTEGER;

-- Whom what waits in a queue is for, so that an opt-out can end it. Not for what is to be looked at again: most messages
-- never stand in a queue, and pay nothing for this.
ALTER TABLE due ADD COLUMN recipient INTEGER;
UPDATE due SET recipient = (SELECT m.recipient FROM message m WHERE m.id = due.message) WHERE lane <> 0;
CREATE INDEX due_recipient ON due (recipient) WHERE recipient IS NOT NULL;

-- An item about an inbound message; its `message` is 0 then.
ALTER TABLE review ADD COLUMN inbound INTEGER;

-- Replies to a phone number in the time that they are counted in: their bound.
CREATE TABLE reply (
  account INTEGER NOT NULL,
  live INTEGER NOT NULL,
  recipient INTEGER NOT NULL,
  since INTEGER NOT NULL,
  replies INTEGER NOT NULL,
  PRIMARY KEY (account, live, recipient)
) STRICT, WITHOUT ROWID;
CREATE INDEX reply_age ON reply (since);
