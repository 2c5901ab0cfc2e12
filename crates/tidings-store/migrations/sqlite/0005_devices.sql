-- What a device is reached with besides its token, and what its app says of it.
ALTER TABLE device ADD COLUMN environment TEXT NOT NULL DEFAULT 'production';
-- Of a browser's subscription; null for others.
ALTER TABLE device ADD COLUMN p256dh BLOB;
ALTER TABLE device ADD COLUMN auth BLOB;
ALTER TABLE device ADD COLUMN locale TEXT;
ALTER TABLE device ADD COLUMN time_zone TEXT;
ALTER TABLE device ADD COLUMN app_version TEXT;

-- Devices that have not been registered for long are forgotten. Only a registration pays for it: neither
-- appends nor pushes write to this table.
CREATE INDEX device_registered ON device (registered_ms);
