-- Opt-outs of one programme: docs/decisions/0036-opt-out-of-a-programme.md.

-- The programme whose messages an entry is about; nothing for all that the account sends. A person has one entry of each that is
-- not lifted.
ALTER TABLE suppression ADD COLUMN programme TEXT;
DROP INDEX suppression_in_force;
CREATE UNIQUE INDEX suppression_in_force ON suppression (account, live, recipient, coalesce(programme, ''))
  WHERE lifted_at IS NULL;
