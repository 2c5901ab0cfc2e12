-- What a device is reached with besides its token, and what its app says of it.
ALTER TABLE device
    ADD COLUMN environment text NOT NULL DEFAULT 'production',
    -- Of a browser's subscription; null for others.
    ADD COLUMN p256dh      bytea,
    ADD COLUMN auth        bytea,
    ADD COLUMN locale      text,
    ADD COLUMN time_zone   text,
    ADD COLUMN app_version text;

-- Devices that have not been registered for long are forgotten. Only a registration pays for it: neither
-- appends nor pushes write to this table.
CREATE INDEX device_registered ON device (registered_ms);
