-- Messages of people in several parts: docs/decisions/0025-inbound-parts.md.

-- Of a message in several parts: the reference that ties them together, how many there are, and once it was told the
-- numbers of those that did not come, an octet each.
ALTER TABLE inbound ADD COLUMN reference INTEGER;
ALTER TABLE inbound ADD COLUMN total INTEGER;
ALTER TABLE inbound ADD COLUMN missing BLOB;
-- Until when it waits for parts. It has been told otherwise.
ALTER TABLE inbound ADD COLUMN due_at INTEGER;
CREATE INDEX inbound_due ON inbound (due_at) WHERE due_at IS NOT NULL;

-- What came, octet by octet. A message by itself has one part.
CREATE TABLE inbound_part (
  inbound INTEGER NOT NULL,
  number INTEGER NOT NULL,
  -- A place in `text::Charset::ALL`.
  charset INTEGER NOT NULL,
  has_header INTEGER NOT NULL,
  octets BLOB NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (inbound, number)
) STRICT, WITHOUT ROWID;

-- They go when they are old, with their events and reviews.
CREATE INDEX event_inbound ON event (inbound) WHERE inbound IS NOT NULL;
CREATE INDEX review_inbound ON review (inbound) WHERE inbound IS NOT NULL;
