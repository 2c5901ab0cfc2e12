-- Rows of the log have their numbers about in the order of their times: what is old, and where a time
-- begins, is found by number. Every attempt is a row cheaper to write.
DROP INDEX delivery_at;

-- The number that was given last, as of when rows were last forgotten: one is never given twice.
ALTER TABLE store_state ADD COLUMN last_delivery INTEGER NOT NULL DEFAULT 0;
