-- read_stream: the events of one stream in the order of their versions.
--
-- Parameters: $1 aggregate type, $2 aggregate id, $3 first and $4 last version (both included), $5 most rows (null: all).
-- Open ends are given as the ends of bigint, not as null: an OR with "is null" would cost a generic plan its index range.
-- Index: the unique one over (aggregate_type, aggregate_id, aggregate_version), which also gives the order.
-- Locks: none.
select global_position, event_id, aggregate_type, aggregate_id, aggregate_version, event_type, event_version,
       payload, metadata, slot, created_at
from events
where aggregate_type = $1::text and aggregate_id = $2::text
  and aggregate_version >= $3::bigint and aggregate_version <= $4::bigint
order by aggregate_version
limit $5::bigint
