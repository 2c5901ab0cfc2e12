-- One row per notification, once per person: what the peer can keep of what Tidings keeps. It has no
-- inbox counters, no contiguous seq and no offsets in the same transaction.
CREATE TABLE @TABLE@ (
    "user"       text NOT NULL,
    source       text NOT NULL,
    id           text NOT NULL,
    type         text NOT NULL,
    "time"       text NOT NULL,
    actor        text,
    object_type  text,
    object_id    text,
    title        text NOT NULL,
    body         text NOT NULL,
    priority     text,
    "group"      text,
    PRIMARY KEY ("user", source, id)
);
