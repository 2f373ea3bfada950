-- read_after: the visible events after a position, in the order of the log.
--
-- Parameters: $1 position (not included), $2 maximum number of rows (null: all).
-- It does not check whether a missing position may still be filled, so it is no source for a projection.
-- Index: the primary key, read forwards from $1.
-- Locks: none.
select global_position, event_id, aggregate_type, aggregate_id, aggregate_version, event_type, event_version,
       payload, metadata, slot, created_at
from events
where global_position > $1::bigint
order by global_position
limit $2::bigint
