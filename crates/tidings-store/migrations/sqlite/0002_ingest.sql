-- What a batch moves on besides inboxes: positions in logs, fan-outs, and dead letters with all that is
-- known of their records. And what forgetting needs.

-- An append does not write to an inbox: each row that it dirties is another page to be written.
-- `last_seq` and `unread` are as of the last time that the row was written; every notification beyond
-- that `last_seq` is unread, and counts on top. The new column: everything up to there is forgotten.
ALTER TABLE inbox ADD COLUMN forgotten_seq INTEGER NOT NULL DEFAULT 0;

-- When the event was stored, which its own time does not say: a log may be replayed years later.
ALTER TABLE event ADD COLUMN stored_ms INTEGER NOT NULL DEFAULT 0;
UPDATE event SET stored_ms = coalesce(
    (SELECT max(n.created_ms) FROM notification n WHERE n.event = event.event), time_ms);

-- Only events that expire pay for it.
CREATE INDEX event_expiry ON event (time_ms + ttl_ms) WHERE ttl_ms IS NOT NULL;

CREATE INDEX delivery_at ON delivery (at_ms);

-- How far a consumer group has stored a partition, and who may say so: a claim raises the epoch.
CREATE TABLE checkpoint (
    group_name  TEXT    NOT NULL,
    topic       TEXT    NOT NULL,
    part        INTEGER NOT NULL,
    epoch       INTEGER NOT NULL,
    next_offset INTEGER, -- null before the first record
    PRIMARY KEY (group_name, topic, part)
) STRICT, WITHOUT ROWID;

-- Events on their way to the followers of a user. One that is done is kept as long as its event, so
-- that an event that comes again does not begin another.
CREATE TABLE fan_out (
    fan_out     INTEGER PRIMARY KEY,
    event       INTEGER NOT NULL UNIQUE,
    followee_id TEXT    NOT NULL,
    cursor      TEXT    NOT NULL,
    steps       INTEGER NOT NULL DEFAULT 0,
    began_ms    INTEGER NOT NULL,
    leased_ms   INTEGER NOT NULL DEFAULT 0, -- when the lease ends
    done        INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX fan_out_open ON fan_out (began_ms, fan_out) WHERE done = 0;

ALTER TABLE dead_letter ADD COLUMN stage TEXT NOT NULL DEFAULT 'decode';
ALTER TABLE dead_letter ADD COLUMN payload_bytes INTEGER NOT NULL DEFAULT 0;
-- Of a record; null for a request.
ALTER TABLE dead_letter ADD COLUMN topic TEXT;
ALTER TABLE dead_letter ADD COLUMN part INTEGER;
ALTER TABLE dead_letter ADD COLUMN record_offset INTEGER;
ALTER TABLE dead_letter ADD COLUMN record_key BLOB;
ALTER TABLE dead_letter ADD COLUMN headers TEXT; -- [[name, base64 or null], ...]
UPDATE dead_letter SET origin = 'http', payload_bytes = length(payload);

-- Answers that are given again when a request is repeated.
CREATE TABLE answer (
    answer         INTEGER PRIMARY KEY,
    sender         TEXT    NOT NULL,
    request_key    TEXT    NOT NULL,
    request_digest BLOB    NOT NULL,
    status         INTEGER NOT NULL,
    body           BLOB    NOT NULL,
    at_ms          INTEGER NOT NULL,
    UNIQUE (sender, request_key)
) STRICT;

CREATE INDEX answer_at ON answer (at_ms);
