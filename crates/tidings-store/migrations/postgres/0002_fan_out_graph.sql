-- Whose followers a fan-out is for. Null for those that began before graphs had ids: the first to claim
-- one gives it its graph, as nobody knows better.
ALTER TABLE fan_out ADD COLUMN graph uuid;
