-- Inboxes, what is in them, and how it gets out.
--
-- Times are milliseconds since 1970-01-01T00:00:00Z; names that end in _id are the app's own ids,
-- the other keys are the store's numbers. There are no foreign keys on what is written per
-- notification: one writer makes all rows of a transaction, and a look at the parent would cost
-- more than the row.

CREATE TABLE inbox (
    inbox         INTEGER PRIMARY KEY,
    user_id       TEXT    NOT NULL UNIQUE,
    last_seq      INTEGER NOT NULL DEFAULT 0,
    acked_seq     INTEGER NOT NULL DEFAULT 0 CHECK (acked_seq <= last_seq),
    unread        INTEGER NOT NULL DEFAULT 0 CHECK (unread BETWEEN 0 AND last_seq),
    devices       INTEGER NOT NULL DEFAULT 0,
    -- Everything up to here has the mark, so that marking up to a place starts where the last such
    -- mark ended, and needs no index that every append would pay for.
    seen_upto     INTEGER NOT NULL DEFAULT 0,
    read_upto     INTEGER NOT NULL DEFAULT 0,
    archived_upto INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Once, however many people are told of it.
CREATE TABLE event (
    event       INTEGER PRIMARY KEY,
    source      TEXT    NOT NULL,
    event_id    TEXT    NOT NULL,
    type        TEXT    NOT NULL,
    time_ms     INTEGER NOT NULL,
    actor_id    TEXT,
    object_type TEXT,
    object_id   TEXT,
    object_url  TEXT,
    title       TEXT    NOT NULL,
    body        TEXT    NOT NULL,
    data        TEXT,
    priority    TEXT    NOT NULL,
    ttl_ms      INTEGER,
    group_id    TEXT,
    UNIQUE (source, event_id)
) STRICT;

CREATE TABLE notification (
    inbox       INTEGER NOT NULL,
    seq         INTEGER NOT NULL,
    event       INTEGER NOT NULL,
    created_ms  INTEGER NOT NULL,
    seen_ms     INTEGER,
    read_ms     INTEGER,
    archived_ms INTEGER,
    PRIMARY KEY (inbox, seq)
) STRICT, WITHOUT ROWID;

-- Once per person. The event comes first: new events have the highest numbers, so the index grows at
-- its right edge and stays cheap.
CREATE UNIQUE INDEX notification_once ON notification (event, inbox);

CREATE TABLE device (
    inbox         INTEGER NOT NULL REFERENCES inbox (inbox),
    device_id     TEXT    NOT NULL,
    platform      TEXT    NOT NULL,
    app           TEXT    NOT NULL,
    token         TEXT    NOT NULL,
    registered_ms INTEGER NOT NULL,
    PRIMARY KEY (inbox, device_id),
    UNIQUE (platform, app, token)
) STRICT, WITHOUT ROWID;

-- Pushes that wait. A lease is nothing but a due time moved into the future.
CREATE TABLE due_push (
    inbox     INTEGER NOT NULL,
    seq       INTEGER NOT NULL,
    device_id TEXT    NOT NULL, -- empty until routing has chosen devices
    due_ms    INTEGER NOT NULL,
    attempt   INTEGER NOT NULL,
    PRIMARY KEY (inbox, seq, device_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX due_push_due ON due_push (due_ms);

-- The log of all attempts; only ever appended to.
CREATE TABLE delivery (
    delivery    INTEGER PRIMARY KEY,
    inbox       INTEGER NOT NULL,
    seq         INTEGER NOT NULL,
    channel     TEXT    NOT NULL,
    target      TEXT    NOT NULL,
    attempt     INTEGER NOT NULL,
    at_ms       INTEGER NOT NULL,
    latency_ms  INTEGER NOT NULL,
    outcome     TEXT    NOT NULL,
    reason      TEXT,
    provider_id TEXT
) STRICT;

CREATE INDEX delivery_notification ON delivery (inbox, seq);

-- AUTOINCREMENT: the number of a letter that was removed is never given to another.
CREATE TABLE dead_letter (
    dead_letter INTEGER PRIMARY KEY AUTOINCREMENT,
    origin      TEXT    NOT NULL,
    reason      TEXT    NOT NULL,
    payload     BLOB    NOT NULL,
    at_ms       INTEGER NOT NULL
) STRICT;

-- One row. `dead_letters` counts the table above, which SQLite cannot do without reading it;
-- `checks` is what a sign of life writes.
CREATE TABLE store_state (
    one          INTEGER PRIMARY KEY CHECK (one = 1),
    dead_letters INTEGER NOT NULL,
    checks       INTEGER NOT NULL
) STRICT;

INSERT INTO store_state (one, dead_letters, checks) VALUES (1, 0, 0);
