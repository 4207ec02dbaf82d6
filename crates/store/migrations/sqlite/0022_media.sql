-- Media that people send: docs/decisions/0038-media-of-people.md.

-- What came with the message, a line for each, as `media::noted` writes it: what was left out stands there, too. Nothing for nothing.
ALTER TABLE inbound ADD COLUMN media TEXT;

-- The octets of what was kept; `place` is its line, from 1. Type and name are as the carrier called them.
CREATE TABLE media (
  inbound INTEGER NOT NULL,
  place INTEGER NOT NULL,
  account INTEGER NOT NULL,
  content_type TEXT NOT NULL,
  name TEXT,
  octets BLOB NOT NULL,
  PRIMARY KEY (inbound, place)
) STRICT;
