-- Sets events aside. $1: projection; then an element for each event: $2 positions; $3 tries so far; $4 the last so many of them
-- from which no handler has returned; $5 last errors; $6 seconds until the event is tried again, null: not by itself. The other
-- columns come from the log. Index: the primary keys.
-- An event that is there already, because somebody has set the checkpoint back, stays what it is, with the more of tries; an error
-- that says more takes the place of the old one.
insert into rouse.parked_events as p (projection_name, global_position, slot, event_id, aggregate_type, aggregate_id, aggregate_version,
                           event_type, attempts, tries, died, last_error, due_at)
select $1, e.global_position, e.slot, e.event_id, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.event_type, n.tries, n.tries,
       n.died, n.error, clock_timestamp() + make_interval(secs => n.pause)
from unnest($2::bigint[], $3::int[], $4::int[], $5::text[], $6::float8[]) as n (position, tries, died, error, pause)
join rouse.events e on e.global_position = n.position
on conflict (projection_name, global_position) do update
set attempts = greatest(p.attempts, excluded.attempts), tries = greatest(p.tries, excluded.tries), died = greatest(p.died, excluded.died),
    last_error = case when excluded.last_error = '' then p.last_error else excluded.last_error end
