-- Templates and their versions: docs/decisions/0028-templates.md.

CREATE TABLE template (
  id BIGINT NOT NULL,
  account BIGINT NOT NULL,
  live SMALLINT NOT NULL,
  name TEXT NOT NULL COLLATE "C",
  description TEXT NOT NULL,
  newest INTEGER NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (id),
  UNIQUE (account, live, name)
);
CREATE INDEX template_realm ON template (account, live, id);

-- Rows are only ever added. `content` is JSON: languages with their texts, and variables.
CREATE TABLE template_version (
  template BIGINT NOT NULL,
  version INTEGER NOT NULL,
  content TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  created_by TEXT NOT NULL,
  PRIMARY KEY (template, version)
);

-- Of which a message was made, if it was. Most are not, and pay nothing for these.
ALTER TABLE message ADD COLUMN template BIGINT;
ALTER TABLE message ADD COLUMN template_version INTEGER;
