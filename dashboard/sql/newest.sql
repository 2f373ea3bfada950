-- The newest visible events, the last first, without what is in them. $1: how many. Returns position, aggregate type and id,
-- version, type, and the age in seconds. Texts are cut: those of events that are older than the bounds may have any length.
-- Index: the primary key, backwards.
select global_position, left(aggregate_type, 300), left(aggregate_id, 300), aggregate_version, left(event_type, 300),
       greatest(extract(epoch from clock_timestamp() - created_at)::float8, 0)
from events order by global_position desc limit $1
