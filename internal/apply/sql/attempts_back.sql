-- Takes tries back that were written down and have ended without a verdict on the event: in an outage, or in a stop. What is left
-- of no try is deleted, as if it had never been.
-- $1: projection; then an element for each event: $2 positions; $3 how many tries to take back. Index: the primary key.
with back as (
  select * from unnest($2::bigint[], $3::int[]) as b (position, times)
), gone as (
  delete from rouse.event_attempts a using back b
  where a.projection_name = $1 and a.global_position = b.position and a.attempts <= b.times and a.last_error = '' and not a.skip
)
update rouse.event_attempts a set attempts = greatest(a.attempts - b.times, 0)
from back b
where a.projection_name = $1 and a.global_position = b.position and (a.attempts > b.times or a.last_error <> '' or a.skip)
