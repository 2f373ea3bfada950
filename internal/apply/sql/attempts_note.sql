-- Writes down that events are about to be tried, before they are, so that the try outlives a process that dies of it. The table
-- counts, and not the process: another one may take a try of its own back at the same time.
-- $1: projection; then an element for each event: $2 positions; $3 slots; $4 last errors. Returns positions, and the attempts at
-- each, this one included. Index: the primary key.
with noted as (
  insert into rouse.event_attempts as a (projection_name, global_position, slot, attempts, last_error)
  select $1, n.position, n.slot, 1, n.error from unnest($2::bigint[], $3::smallint[], $4::text[]) as n (position, slot, error)
  on conflict (projection_name, global_position) do update
  set attempts = a.attempts + 1, attempted_at = clock_timestamp(),
      last_error = case when excluded.last_error = '' then a.last_error else excluded.last_error end
  returning global_position, attempts
)
select array_agg(global_position), array_agg(attempts) from noted
