-- A checksum over what never changes of a message. SQLite keeps none over its pages, so a bit that the disk turned in a
-- text or a number would go out unnoticed. Rows from before have none.
ALTER TABLE message ADD COLUMN checksum INTEGER;
