-- Several nodes over one database: who they are, and which of them owns a connection.

CREATE TABLE node (
  -- Random for each start, so that a write of an earlier start can be told from one of this.
  id TEXT COLLATE "C" PRIMARY KEY,
  number INTEGER NOT NULL UNIQUE,
  name TEXT COLLATE "C" NOT NULL,
  place TEXT COLLATE "C" NOT NULL,
  roles SMALLINT NOT NULL,
  connections BIGINT[] NOT NULL,
  acknowledged BIGINT NOT NULL,
  joined_at TIMESTAMPTZ NOT NULL,
  -- Since when its lease was never over.
  steady_since TIMESTAMPTZ NOT NULL,
  lease_until TIMESTAMPTZ NOT NULL
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);

ALTER TABLE connection ADD COLUMN owner TEXT COLLATE "C";
-- How often it changed its owner.
ALTER TABLE connection ADD COLUMN epoch BIGINT NOT NULL DEFAULT 0;

-- What every transaction looks at is in sequences and not in rows: a row that each commit changes would leave a trace
-- of each behind, for as long as anybody's old transaction may still look at it. They are changed only by who has the
-- turn to write.
CREATE SEQUENCE writer;
CREATE SEQUENCE last_writer;
CREATE SEQUENCE node_number;
CREATE SEQUENCE list_version;
CREATE SEQUENCE settings_version;
CREATE SEQUENCE parked_version;
SELECT setval('writer', 1), setval('last_writer', 1), setval('node_number', 1),
  setval('list_version', 1), setval('settings_version', 1), setval('parked_version', 1);

-- Emptied by the server when it recovers from a crash and when a replica takes over: so whoever finds his word gone knows that
-- numbers of transactions may have been used twice since.
CREATE UNLOGGED TABLE era (
  single BOOLEAN PRIMARY KEY CHECK (single),
  word TEXT NOT NULL
);

DELETE FROM setting WHERE name IN ('writer', 'served');
