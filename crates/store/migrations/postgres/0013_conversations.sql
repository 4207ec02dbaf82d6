-- Conversations with people: docs/decisions/0029-conversations.md.

-- One for a person and a sender of ours. How it stands follows from the places of entries in `asked`, `answered`, `closed`.
CREATE TABLE conversation (
  id BIGINT NOT NULL,
  account BIGINT NOT NULL,
  live SMALLINT NOT NULL,
  person BIGINT NOT NULL,
  sender TEXT NOT NULL,
  -- The last entry, as in `conversation_entry`.
  last_kind SMALLINT NOT NULL,
  last_ref BIGINT NOT NULL,
  -- The place of that among all entries of all conversations: lists go by it.
  seq BIGINT NOT NULL,
  entries INTEGER NOT NULL,
  asked INTEGER NOT NULL,
  answered INTEGER NOT NULL,
  closed INTEGER NOT NULL,
  snoozed_until BIGINT,
  assignee TEXT,
  -- Each between two spaces.
  tags TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  last_at BIGINT NOT NULL,
  PRIMARY KEY (id),
  UNIQUE (account, live, person, sender)
);
CREATE INDEX conversation_seq ON conversation (account, live, seq);
CREATE INDEX conversation_asked ON conversation (account, live, seq) WHERE asked > answered AND asked > closed;
CREATE INDEX conversation_last ON conversation (last_at);

-- What was said. kind: 0 an inbound message, 1 a message, 2 a note; `ref` is its id. A note has its text here.
CREATE TABLE conversation_entry (
  conversation BIGINT NOT NULL,
  place INTEGER NOT NULL,
  seq BIGINT NOT NULL,
  kind SMALLINT NOT NULL,
  ref BIGINT NOT NULL,
  author TEXT,
  text TEXT,
  -- The words that it is found by, between spaces: its rows of `conversation_word`.
  words TEXT NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (conversation, place)
);
CREATE INDEX conversation_entry_at ON conversation_entry (at);
CREATE INDEX conversation_entry_message ON conversation_entry (ref) WHERE kind = 1;

-- What entries are found by.
CREATE TABLE conversation_word (
  account BIGINT NOT NULL,
  live SMALLINT NOT NULL,
  word TEXT NOT NULL COLLATE "C",
  seq BIGINT NOT NULL,
  conversation BIGINT NOT NULL,
  place INTEGER NOT NULL,
  PRIMARY KEY (account, live, word, seq)
);
