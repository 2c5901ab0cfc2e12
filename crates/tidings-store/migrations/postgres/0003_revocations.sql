-- Users whose tokens are refused that were issued before a time. Changes are made one at a time, so that
-- they become visible in their order: nodes remember up to which one they have read.
CREATE TABLE revocation (
    user_id   text COLLATE "C" PRIMARY KEY,
    change    bigint GENERATED ALWAYS AS IDENTITY,
    before_ms bigint NOT NULL
);

CREATE UNIQUE INDEX revocation_change ON revocation (change);
CREATE INDEX revocation_before ON revocation (before_ms);
