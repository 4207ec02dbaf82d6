-- A checksum over what never changes of a message. A server keeps one over its pages only if it was told to when it was
-- made, so a bit that the disk turned in a text or a number might go out unnoticed. Rows from before have none.
ALTER TABLE message ADD COLUMN checksum BIGINT;
