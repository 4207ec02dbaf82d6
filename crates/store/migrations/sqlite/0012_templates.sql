-- Templates and their versions: docs/decisions/0028-templates.md.

CREATE TABLE template (
  id INTEGER PRIMARY KEY,
  account INTEGER NOT NULL,
  live INTEGER NOT NULL,
  name TEXT NOT NULL,
  description TEXT NOT NULL,
  newest INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  UNIQUE (account, live, name)
) STRICT;
CREATE INDEX template_realm ON template (account, live, id);

-- Rows are only ever added. `content` is JSON: languages with their texts, and variables.
CREATE TABLE template_version (
  template INTEGER NOT NULL,
  version INTEGER NOT NULL,
  content TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  created_by TEXT NOT NULL,
  PRIMARY KEY (template, version)
) STRICT, WITHOUT ROWID;

-- Of which a message was made, if it was. Most are not, and pay nothing for these.
ALTER TABLE message ADD COLUMN template INTEGER;
ALTER TABLE message ADD COLUMN template_version INTEGER;
