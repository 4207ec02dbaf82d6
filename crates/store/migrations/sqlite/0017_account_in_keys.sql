-- A server may be spread over machines by account, and has it in its keys since this migration; a file is on one machine, its
-- ids are unique without it, and what hangs on a row has the account of that row: this number is PostgreSQL's alone.
SELECT 1;
