-- Sets events aside. $1: projection; then an element for each event: $2 positions; $3 attempts; $4 last errors. What is known of
-- an event comes from the log. Index: the primary key of events.
insert into parked_events (projection_name, global_position, slot, event_id, aggregate_type, aggregate_id, aggregate_version,
                           event_type, attempts, last_error)
select $1, e.global_position, e.slot, e.event_id, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.event_type, n.attempts, n.error
from unnest($2::bigint[], $3::int[], $4::text[]) as n (position, attempts, error) join events e on e.global_position = n.position
