-- The newest visible events, the last first, without what is in them. $1: how many. Returns position, aggregate type and id,
-- version, type, and the age in seconds.
-- Index: the primary key, backwards.
select global_position, aggregate_type, aggregate_id, aggregate_version, event_type,
       greatest(extract(epoch from clock_timestamp() - created_at)::float8, 0)
from events order by global_position desc limit $1
