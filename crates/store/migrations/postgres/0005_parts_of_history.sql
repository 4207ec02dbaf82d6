-- History in parts. Events and tries are only added, and go when they are old: so both tables are cut by places in the
-- event log, which tell the time, and a part that is old is dropped. What the tables hold becomes their first part
-- as it is. New parts are made ahead of time by whoever serves; what belongs to none of them is in the rest.
--
-- 2^40 is a place of April 2024: every place that was given before places told the time is below it. That this is so of
-- the old rows was looked at beforehand, so that they are not read while everybody waits.

ALTER TABLE event RENAME TO event_old;
ALTER TABLE event_old RENAME CONSTRAINT event_pkey TO event_old_pkey;
ALTER INDEX event_message RENAME TO event_old_message;
ALTER INDEX event_other RENAME TO event_old_other;
CREATE TABLE event (LIKE event_old) PARTITION BY RANGE (seq);
ALTER TABLE event ADD PRIMARY KEY (seq, account);
-- Messages are young when things happen to them, so this grows at its right edge.
CREATE INDEX event_message ON event (message) WHERE message IS NOT NULL;
-- Those that go with no message.
CREATE INDEX event_other ON event (seq) WHERE message IS NULL;
ALTER TABLE event ATTACH PARTITION event_old FOR VALUES FROM (MINVALUE) TO (1099511627776);
ALTER TABLE event_old DROP CONSTRAINT event_is_old;
CREATE TABLE event_rest PARTITION OF event DEFAULT WITH (autovacuum_vacuum_insert_scale_factor = 0.1);

ALTER TABLE attempt RENAME TO attempt_old;
ALTER TABLE attempt_old RENAME CONSTRAINT attempt_pkey TO attempt_old_pkey;
ALTER INDEX attempt_at RENAME TO attempt_old_at;
CREATE TABLE attempt (LIKE attempt_old) PARTITION BY RANGE (event);
ALTER TABLE attempt ADD PRIMARY KEY (endpoint, event, number, account);
-- An old event may have been told again just now. Says where young tries may be, at next to no cost.
CREATE INDEX attempt_at ON attempt USING brin (at) WITH (autosummarize = on);
ALTER TABLE attempt ATTACH PARTITION attempt_old FOR VALUES FROM (MINVALUE) TO (1099511627776);
ALTER TABLE attempt_old DROP CONSTRAINT attempt_is_old;
CREATE TABLE attempt_rest PARTITION OF attempt DEFAULT WITH (autovacuum_vacuum_insert_scale_factor = 0.1);
