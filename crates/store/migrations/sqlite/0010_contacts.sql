-- Contacts and their import: docs/decisions/0026-contacts.md.

-- People. numbers are digits with a space between, the usual one first; member_of are names of groups with ; between; fields
-- are a JSON object.
CREATE TABLE contact (
  account INTEGER NOT NULL,
  live INTEGER NOT NULL,
  id INTEGER NOT NULL,
  numbers TEXT NOT NULL,
  name TEXT,
  language TEXT,
  zone TEXT,
  owner TEXT,
  member_of TEXT NOT NULL,
  fields TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (account, live, id)
) STRICT, WITHOUT ROWID;

-- Whose number it is: one contact's at most.
CREATE TABLE contact_number (
  account INTEGER NOT NULL,
  live INTEGER NOT NULL,
  number INTEGER NOT NULL,
  contact INTEGER NOT NULL,
  PRIMARY KEY (account, live, number)
) STRICT, WITHOUT ROWID;

-- Who is in a group.
CREATE TABLE contact_group (
  account INTEGER NOT NULL,
  live INTEGER NOT NULL,
  name TEXT NOT NULL,
  contact INTEGER NOT NULL,
  PRIMARY KEY (account, live, name, contact)
) STRICT, WITHOUT ROWID;

-- Tables of contacts that were read. state is a place in the list of `import`; headings and report are JSON. swept is 1 once
-- nothing is left to be thrown away.
CREATE TABLE import (
  id INTEGER PRIMARY KEY,
  account INTEGER NOT NULL,
  live INTEGER NOT NULL,
  name TEXT NOT NULL,
  who TEXT NOT NULL,
  state INTEGER NOT NULL,
  headings TEXT NOT NULL,
  report TEXT NOT NULL,
  created INTEGER NOT NULL,
  changed INTEGER NOT NULL,
  unchanged INTEGER NOT NULL,
  left_over INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  swept INTEGER NOT NULL
) STRICT;
CREATE INDEX import_unswept ON import (id) WHERE swept = 0;

-- Their rows, in pieces. kind 0 are rows that wait to be taken over: the commit that does it deletes their piece, so that none
-- is taken over twice. kind 1 are those that were refused.
CREATE TABLE import_piece (
  import INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  place INTEGER NOT NULL,
  rows TEXT NOT NULL,
  PRIMARY KEY (import, kind, place)
) STRICT;
