-- Programmes: docs/decisions/0033-programmes.md.

-- The name of the one that a message is of, if it is of one. Most are not, and pay nothing for it.
ALTER TABLE message ADD COLUMN programme TEXT;
