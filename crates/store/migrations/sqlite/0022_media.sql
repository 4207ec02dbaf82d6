-- Media that people send: docs/decisions/0038-media-of-people.md.

-- What came with the message, a line for each, as `media::noted` writes it: what was left out stands there, too. Nothing for nothing.
ALTER TABLE inbound ADD COLUMN media TEXT;

-- The octets of what was kept; `place` is its line, from 1.
CREATE TABLE media (
  inbound INTEGER NOT NULL,
  place INTEGER NOT NULL,
  account INTEGER NOT NULL,
  octets BLOB NOT NULL,
  PRIMARY KEY (inbound, place)
) STRICT;
