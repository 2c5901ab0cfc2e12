-- Users whose tokens are refused that were issued before a time. A change is never used again: nodes
-- remember up to which one they have read.
CREATE TABLE revocation (
    change    INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id   TEXT NOT NULL UNIQUE,
    before_ms INTEGER NOT NULL
) STRICT;

CREATE INDEX revocation_before ON revocation (before_ms);
