-- A server keeps its history in parts since this migration; a file has one tree for each table: this number is
-- PostgreSQL's alone.
SELECT 1;
