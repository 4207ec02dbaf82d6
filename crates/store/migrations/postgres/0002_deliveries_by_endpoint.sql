-- Deliveries stand in the order of their endpoints here since the first migration: this number is SQLite's alone.
SELECT 1;
