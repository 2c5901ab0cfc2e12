-- Live sessions have everything after this place, up to `acked_seq`: one that began at the newest
-- notification says nothing of those before.
ALTER TABLE inbox ADD COLUMN acked_after INTEGER NOT NULL DEFAULT 0;
