-- Contacts and their import: docs/decisions/0026-contacts.md.

-- People. numbers are digits with a space between, the usual one first; member_of are names of groups with ; between; fields
-- are a JSON object.
CREATE TABLE contact (
  account BIGINT NOT NULL,
  live SMALLINT NOT NULL,
  id BIGINT NOT NULL,
  numbers TEXT NOT NULL,
  name TEXT,
  language TEXT,
  zone TEXT,
  owner TEXT,
  member_of TEXT NOT NULL,
  fields TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  PRIMARY KEY (account, live, id)
);

-- Whose number it is: one contact's at most.
CREATE TABLE contact_number (
  account BIGINT NOT NULL,
  live SMALLINT NOT NULL,
  number BIGINT NOT NULL,
  contact BIGINT NOT NULL,
  PRIMARY KEY (account, live, number)
);

-- Who is in a group.
CREATE TABLE contact_group (
  account BIGINT NOT NULL,
  live SMALLINT NOT NULL,
  name TEXT COLLATE "C" NOT NULL,
  contact BIGINT NOT NULL,
  PRIMARY KEY (account, live, name, contact)
);

-- Tables of contacts that were read. state is a place in the list of `import`; headings and report are JSON. swept is 1 once
-- nothing is left to be thrown away.
CREATE TABLE import (
  id BIGINT PRIMARY KEY,
  account BIGINT NOT NULL,
  live SMALLINT NOT NULL,
  name TEXT NOT NULL,
  who TEXT NOT NULL,
  state SMALLINT NOT NULL,
  headings TEXT NOT NULL,
  report TEXT NOT NULL,
  created BIGINT NOT NULL,
  changed BIGINT NOT NULL,
  unchanged BIGINT NOT NULL,
  left_over BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  swept SMALLINT NOT NULL
);
CREATE INDEX import_unswept ON import (id) WHERE swept = 0;

-- Their rows, in pieces. kind 0 are rows that wait to be taken over: the commit that does it deletes their piece, so that none
-- is taken over twice. kind 1 are those that were refused.
CREATE TABLE import_piece (
  import BIGINT NOT NULL,
  kind SMALLINT NOT NULL,
  place BIGINT NOT NULL,
  rows TEXT NOT NULL,
  PRIMARY KEY (import, kind, place)
);
