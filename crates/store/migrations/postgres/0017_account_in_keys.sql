-- The account in the keys that lacked it: docs/decisions/0016-postgresql.md. The first migration says why it stands there; which
-- keys do without it by design, and why, is said where a test reads all of them (tests/conformance/server.rs).

ALTER TABLE code DROP CONSTRAINT code_pkey, ADD PRIMARY KEY (id, account);
ALTER TABLE import DROP CONSTRAINT import_pkey, ADD PRIMARY KEY (id, account);
ALTER TABLE template DROP CONSTRAINT template_pkey, ADD PRIMARY KEY (id, account);
ALTER TABLE conversation DROP CONSTRAINT conversation_pkey, ADD PRIMARY KEY (id, account);
ALTER TABLE segment DROP CONSTRAINT segment_pkey, ADD PRIMARY KEY (id, account);
ALTER TABLE consent_request DROP CONSTRAINT consent_request_pkey, ADD PRIMARY KEY (id, account);

-- What hangs on one of these, or on an inbound message, had no account of its own. Written anew and not changed in place, so that
-- nothing dead is left behind. A row that hangs on nothing is reached by nobody, and is not taken along.

CREATE TABLE inbound_part_new (
  inbound BIGINT NOT NULL,
  account BIGINT NOT NULL,
  number SMALLINT NOT NULL,
  -- A place in `text::Charset::ALL`.
  charset SMALLINT NOT NULL,
  has_header BOOLEAN NOT NULL,
  octets BYTEA NOT NULL,
  at BIGINT NOT NULL
);
INSERT INTO inbound_part_new
  SELECT p.inbound, i.account, p.number, p.charset, p.has_header, p.octets, p.at
  FROM inbound_part p JOIN inbound i ON i.id = p.inbound;
DROP TABLE inbound_part;
ALTER TABLE inbound_part_new RENAME TO inbound_part;
ALTER TABLE inbound_part ADD CONSTRAINT inbound_part_pkey PRIMARY KEY (inbound, number, account);

CREATE TABLE import_piece_new (
  import BIGINT NOT NULL,
  account BIGINT NOT NULL,
  kind SMALLINT NOT NULL,
  place BIGINT NOT NULL,
  rows TEXT NOT NULL
);
INSERT INTO import_piece_new
  SELECT p.import, i.account, p.kind, p.place, p.rows FROM import_piece p JOIN import i ON i.id = p.import;
DROP TABLE import_piece;
ALTER TABLE import_piece_new RENAME TO import_piece;
ALTER TABLE import_piece ADD CONSTRAINT import_piece_pkey PRIMARY KEY (import, kind, place, account);

-- Rows are only ever added. `content` is JSON: languages with their texts, and variables.
CREATE TABLE template_version_new (
  template BIGINT NOT NULL,
  account BIGINT NOT NULL,
  version INTEGER NOT NULL,
  content TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  created_by TEXT NOT NULL
);
INSERT INTO template_version_new
  SELECT v.template, t.account, v.version, v.content, v.created_at, v.created_by
  FROM template_version v JOIN template t ON t.id = v.template;
DROP TABLE template_version;
ALTER TABLE template_version_new RENAME TO template_version;
ALTER TABLE template_version ADD CONSTRAINT template_version_pkey PRIMARY KEY (template, version, account);

-- kind: 0 an inbound message, 1 a message, 2 a note; `ref` is its id. A note has its text here.
CREATE TABLE conversation_entry_new (
  conversation BIGINT NOT NULL,
  account BIGINT NOT NULL,
  place INTEGER NOT NULL,
  seq BIGINT NOT NULL,
  kind SMALLINT NOT NULL,
  ref BIGINT NOT NULL,
  author TEXT,
  text TEXT,
  -- The words that it is found by, between spaces: its rows of `conversation_word`.
  words TEXT NOT NULL,
  at BIGINT NOT NULL
);
INSERT INTO conversation_entry_new
  SELECT e.conversation, c.account, e.place, e.seq, e.kind, e.ref, e.author, e.text, e.words, e.at
  FROM conversation_entry e JOIN conversation c ON c.id = e.conversation;
DROP TABLE conversation_entry;
ALTER TABLE conversation_entry_new RENAME TO conversation_entry;
ALTER TABLE conversation_entry
  ADD CONSTRAINT conversation_entry_pkey PRIMARY KEY (conversation, place, account);
CREATE INDEX conversation_entry_at ON conversation_entry (at);
CREATE INDEX conversation_entry_message ON conversation_entry (ref) WHERE kind = 1;
