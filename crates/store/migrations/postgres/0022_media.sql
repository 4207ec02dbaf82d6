-- Media that people send: docs/decisions/0038-media-of-people.md.

-- What came with the message, a line for each, as `media::noted` writes it: what was left out stands there, too. Nothing for nothing.
ALTER TABLE inbound ADD COLUMN media TEXT;

-- The octets of what was kept; `place` is its line, from 1.
CREATE TABLE media (
  inbound BIGINT NOT NULL,
  place SMALLINT NOT NULL,
  account BIGINT NOT NULL,
  octets BYTEA NOT NULL,
  PRIMARY KEY (inbound, place, account)
);
-- Pictures and sounds are packed already: that is not tried again.
ALTER TABLE media ALTER COLUMN octets SET STORAGE EXTERNAL;
