-- Open deliveries in the order of their endpoints: what is due at one is found without reading what waits at another.

CREATE TABLE delivery_by_endpoint (
  endpoint INTEGER NOT NULL,
  due_at INTEGER NOT NULL,
  event INTEGER NOT NULL,
  tries INTEGER NOT NULL,
  PRIMARY KEY (endpoint, due_at, event)
) STRICT, WITHOUT ROWID;
INSERT INTO delivery_by_endpoint (endpoint, due_at, event, tries) SELECT endpoint, due_at, event, tries FROM delivery;
DROP TABLE delivery;
ALTER TABLE delivery_by_endpoint RENAME TO delivery;
