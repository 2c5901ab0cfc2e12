-- What users make of recommendations. By the app's own ids: who is recommended needs no inbox.
CREATE TABLE recommendation_dismissal (
    user_id  TEXT    NOT NULL,
    other_id TEXT    NOT NULL,
    at_ms    INTEGER NOT NULL,
    PRIMARY KEY (user_id, other_id)
) STRICT, WITHOUT ROWID;

-- Who is erased goes from what others dismissed, too.
CREATE INDEX recommendation_dismissal_other ON recommendation_dismissal (other_id);

CREATE TABLE recommendation_impression (
    user_id  TEXT    NOT NULL,
    shown_id TEXT    NOT NULL,
    times    INTEGER NOT NULL,
    last_ms  INTEGER NOT NULL,
    PRIMARY KEY (user_id, shown_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX recommendation_impression_shown ON recommendation_impression (shown_id);
CREATE INDEX recommendation_impression_last ON recommendation_impression (last_ms);

-- Who is not to be recommended to anyone. One who may be again stays, as a change that nodes have to
-- hear of: they remember up to which one they have read, and a change is never used again.
CREATE TABLE unrecommendable (
    change             INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id            TEXT    NOT NULL UNIQUE,
    is_unrecommendable INTEGER NOT NULL
) STRICT;
