-- Why the message of a turn was sent: not every bound counts every purpose (docs/decisions/0034-whose-clock.md). Of turns that were
-- taken before, and by nodes of before, it is not known; they are taken for marketing, and count for a week at most.
ALTER TABLE turn ADD COLUMN purpose SMALLINT NOT NULL DEFAULT 3;
