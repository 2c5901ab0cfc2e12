-- The log is read, and forgotten, in the order of its numbers, which is about that of its times. One
-- index for another: an attempt costs what it did.
CREATE INDEX delivery_in_order ON delivery (delivery);
DROP INDEX delivery_at;
