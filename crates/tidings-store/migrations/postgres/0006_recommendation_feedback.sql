-- What users make of recommendations. By the app's own ids: who is recommended needs no inbox.
CREATE TABLE recommendation_dismissal (
    user_id  text COLLATE "C" NOT NULL,
    other_id text COLLATE "C" NOT NULL,
    at_ms    bigint NOT NULL,
    PRIMARY KEY (user_id, other_id)
);

-- Who is erased goes from what others dismissed, too.
CREATE INDEX recommendation_dismissal_other ON recommendation_dismissal (other_id);

CREATE TABLE recommendation_impression (
    user_id  text COLLATE "C" NOT NULL,
    shown_id text COLLATE "C" NOT NULL,
    times    bigint NOT NULL,
    last_ms  bigint NOT NULL,
    PRIMARY KEY (user_id, shown_id)
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX recommendation_impression_shown ON recommendation_impression (shown_id);
CREATE INDEX recommendation_impression_last ON recommendation_impression (last_ms);

-- Who is not to be recommended to anyone. One who may be again stays, as a change that nodes have to
-- hear of: they remember up to which one they have read. Changes are made one at a time, so that they
-- become visible in their order.
CREATE TABLE unrecommendable (
    user_id            text COLLATE "C" PRIMARY KEY,
    change             bigint GENERATED ALWAYS AS IDENTITY,
    is_unrecommendable boolean NOT NULL
);

CREATE UNIQUE INDEX unrecommendable_change ON unrecommendable (change);
