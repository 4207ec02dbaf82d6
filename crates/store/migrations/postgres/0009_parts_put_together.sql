-- Messages of people in several parts: docs/decisions/0025-inbound-parts.md.

-- Of a message in several parts: the reference that ties them together, how many there are, and once it was told the
-- numbers of those that did not come, an octet each.
ALTER TABLE inbound ADD COLUMN reference INTEGER;
ALTER TABLE inbound ADD COLUMN total SMALLINT;
ALTER TABLE inbound ADD COLUMN missing BYTEA;
-- Until when it waits for parts. It has been told otherwise.
ALTER TABLE inbound ADD COLUMN due_at BIGINT;
CREATE INDEX inbound_due ON inbound (due_at) WHERE due_at IS NOT NULL;

-- What came, octet by octet. A message by itself has one part.
CREATE TABLE inbound_part (
  inbound BIGINT NOT NULL,
  number SMALLINT NOT NULL,
  -- A place in `text::Charset::ALL`.
  charset SMALLINT NOT NULL,
  has_header BOOLEAN NOT NULL,
  octets BYTEA NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (inbound, number)
);

-- The newest of those under one fingerprint, without looking at all.
CREATE INDEX inbound_like ON inbound (fingerprint, id);
-- They go when they are old, with their reviews.
CREATE INDEX review_inbound ON review (inbound) WHERE inbound IS NOT NULL;
