-- Inboxes, what is in them, how it gets there, and how it gets out.
--
-- Times are milliseconds since 1970-01-01T00:00:00Z; names that end in _id are the app's own ids,
-- the other keys are the store's numbers. There are no foreign keys on what is written per
-- notification: a look at the parent would cost more than the row.
--
-- What grows with the number of users is partitioned by the hash of `inbox`, so that everything of one
-- user is together, wherever that is; events by the hash of their number. Text may hold what stands for
-- a zero byte, which PostgreSQL does not take: see `text.rs`.

-- At most 48 bits: half of a notification's id.
CREATE SEQUENCE inbox_number AS bigint MAXVALUE 281474976710655;
CREATE SEQUENCE event_number AS bigint;
CREATE SEQUENCE delivery_number AS bigint;

-- Never changed once it is written: nodes remember it.
CREATE TABLE user_inbox (
    user_id text COLLATE "C" NOT NULL PRIMARY KEY,
    inbox   bigint NOT NULL DEFAULT nextval('inbox_number')
);

CREATE TABLE inbox (
    inbox         bigint NOT NULL PRIMARY KEY,
    user_id       text COLLATE "C" NOT NULL,
    last_seq      bigint NOT NULL DEFAULT 0,
    acked_seq     bigint NOT NULL DEFAULT 0 CHECK (acked_seq <= last_seq),
    unread        bigint NOT NULL DEFAULT 0 CHECK (unread BETWEEN 0 AND last_seq),
    devices       bigint NOT NULL DEFAULT 0,
    -- Everything up to here is forgotten.
    forgotten_seq bigint NOT NULL DEFAULT 0,
    -- Everything up to here has the mark, so that marking up to a place starts where the last such
    -- mark ended, and needs no index that every append would pay for.
    seen_upto     bigint NOT NULL DEFAULT 0,
    read_upto     bigint NOT NULL DEFAULT 0,
    archived_upto bigint NOT NULL DEFAULT 0
) PARTITION BY HASH (inbox);

-- Who came first under an identity (source, event id), by a digest of it. Apart from the event, so
-- that everything else refers to the event by a number that grows: this is the only index in which
-- appends write all over the place. Its row is what is locked when an event that is there already
-- gets more notifications, or is about to be forgotten.
CREATE TABLE event_key (
    key   uuid NOT NULL PRIMARY KEY,
    event bigint NOT NULL DEFAULT nextval('event_number')
) PARTITION BY HASH (key);

-- Once, however many people are told of it.
CREATE TABLE event (
    event       bigint NOT NULL PRIMARY KEY,
    time_ms     bigint NOT NULL,
    stored_ms   bigint NOT NULL,
    ttl_ms      bigint,
    source      text NOT NULL,
    event_id    text NOT NULL,
    type        text NOT NULL,
    actor_id    text,
    object_type text,
    object_id   text,
    object_url  text,
    title       text NOT NULL,
    body        text NOT NULL,
    -- Not jsonb: it is given back byte for byte.
    data        text,
    priority    text NOT NULL,
    group_id    text
) PARTITION BY HASH (event);

-- Only events that expire pay for it.
CREATE INDEX event_expiry ON event ((time_ms + ttl_ms), event) WHERE ttl_ms IS NOT NULL;

CREATE TABLE notification (
    inbox       bigint NOT NULL,
    seq         bigint NOT NULL,
    event       bigint NOT NULL,
    created_ms  bigint NOT NULL,
    seen_ms     bigint,
    read_ms     bigint,
    archived_ms bigint,
    PRIMARY KEY (inbox, seq)
) PARTITION BY HASH (inbox);

-- Once per person. The event comes first: new events have the highest numbers, so the index grows at
-- its right edge and stays cheap.
CREATE UNIQUE INDEX notification_once ON notification (event, inbox);

-- Pushes that wait. A lease is nothing but a due time moved into the future.
CREATE TABLE due_push (
    inbox     bigint NOT NULL,
    seq       bigint NOT NULL,
    device_id text COLLATE "C" NOT NULL, -- empty until routing has chosen devices
    due_ms    bigint NOT NULL,
    attempt   integer NOT NULL,
    PRIMARY KEY (inbox, seq, device_id)
) PARTITION BY HASH (inbox);

CREATE INDEX due_push_due ON due_push (due_ms);

-- The log of all attempts; only ever appended to.
CREATE TABLE delivery (
    inbox       bigint NOT NULL,
    seq         bigint NOT NULL,
    delivery    bigint NOT NULL DEFAULT nextval('delivery_number'),
    channel     text NOT NULL,
    target      text NOT NULL,
    attempt     bigint NOT NULL,
    at_ms       bigint NOT NULL,
    latency_ms  bigint NOT NULL,
    outcome     text NOT NULL,
    reason      text,
    provider_id text,
    PRIMARY KEY (inbox, seq, delivery)
) PARTITION BY HASH (inbox);

CREATE INDEX delivery_at ON delivery (at_ms);

-- Partitions hold the rows, so they have the settings. Room in the pages keeps updates out of the
-- indexes (HOT). Vacuum comes by rows, not by a share of the table: a share of a large table is a lot,
-- and what was forgotten is to be used again soon.
DO $$
DECLARE
    parent text;
    settings text;
BEGIN
    FOR parent, settings IN VALUES
        ('inbox', 'fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05'),
        ('event_key', 'autovacuum_vacuum_scale_factor = 0.02'),
        ('event', 'autovacuum_vacuum_scale_factor = 0.02'),
        ('notification', 'fillfactor = 90, autovacuum_vacuum_scale_factor = 0.02'),
        ('due_push', 'fillfactor = 70, autovacuum_vacuum_scale_factor = 0, '
            'autovacuum_vacuum_threshold = 5000'),
        ('delivery', 'autovacuum_vacuum_scale_factor = 0.02')
    LOOP
        FOR part IN 0..7 LOOP
            EXECUTE format(
                'CREATE TABLE %I PARTITION OF %I FOR VALUES WITH (MODULUS 8, REMAINDER %s) WITH (%s)',
                parent || '_' || part, parent, part, settings);
        END LOOP;
    END LOOP;
END
$$;

CREATE TABLE device (
    inbox         bigint NOT NULL,
    device_id     text COLLATE "C" NOT NULL,
    platform      text NOT NULL,
    app           text NOT NULL,
    token         text NOT NULL,
    -- A digest of platform, app and token: a token may be longer than an index takes.
    token_key     uuid NOT NULL UNIQUE,
    registered_ms bigint NOT NULL,
    PRIMARY KEY (inbox, device_id)
);

-- How far a consumer group has stored a partition, and who may say so: a claim raises the epoch.
CREATE TABLE checkpoint (
    group_name  text COLLATE "C" NOT NULL,
    topic       text COLLATE "C" NOT NULL,
    part        integer NOT NULL,
    epoch       bigint NOT NULL,
    next_offset bigint, -- null before the first record
    PRIMARY KEY (group_name, topic, part)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Events on their way to the followers of a user. One that is done is kept as long as its event, so
-- that an event that comes again does not begin another.
CREATE TABLE fan_out (
    fan_out     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event       bigint NOT NULL UNIQUE,
    followee_id text NOT NULL,
    cursor      text NOT NULL,
    steps       bigint NOT NULL DEFAULT 0,
    began_ms    bigint NOT NULL,
    leased_ms   bigint NOT NULL DEFAULT 0, -- when the lease ends
    done        boolean NOT NULL DEFAULT false
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

CREATE INDEX fan_out_open ON fan_out (began_ms, fan_out) WHERE NOT done;

CREATE TABLE dead_letter (
    dead_letter   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stage         text NOT NULL,
    reason        text NOT NULL,
    payload       bytea NOT NULL,
    payload_bytes bigint NOT NULL,
    at_ms         bigint NOT NULL,
    origin        text NOT NULL,
    -- Of a record; null for a request.
    topic         text,
    part          integer,
    record_offset bigint,
    record_key    bytea,
    headers       text -- [[name, base64 or null], ...]
) WITH (autovacuum_vacuum_scale_factor = 0.02);

-- Answers that are given again when a request is repeated.
CREATE TABLE answer (
    sender         text COLLATE "C" NOT NULL,
    request_key    text COLLATE "C" NOT NULL,
    request_digest bytea NOT NULL,
    status         integer NOT NULL,
    body           bytea NOT NULL,
    at_ms          bigint NOT NULL,
    PRIMARY KEY (sender, request_key)
) WITH (autovacuum_vacuum_scale_factor = 0.02);

CREATE INDEX answer_at ON answer (at_ms);

-- `dead_letters` add up to the rows of that table, which PostgreSQL cannot count without reading them;
-- `checks` is what a sign of life writes. Many slots, so that nodes do not wait for each other.
CREATE TABLE store_state (
    slot         integer NOT NULL PRIMARY KEY,
    dead_letters bigint NOT NULL DEFAULT 0,
    checks       bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

INSERT INTO store_state (slot) SELECT generate_series(0, 63);
