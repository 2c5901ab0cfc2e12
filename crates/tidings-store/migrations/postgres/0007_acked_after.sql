-- Live sessions have everything after this place, up to `acked_seq`: one that began at the newest
-- notification says nothing of those before. Without a check, which would read the whole table.
ALTER TABLE inbox ADD COLUMN acked_after bigint NOT NULL DEFAULT 0;
