-- Deletes the rows of members that have been silent for a day. Nothing depends on it; the table stays small.
delete from rouse.projection_workers where heartbeat_at < clock_timestamp() - interval '1 day'
