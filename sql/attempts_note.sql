-- Writes down that events are about to be tried, before they are, so that it outlives a process that dies of one of them.
-- $1: projection; then an element for each event: $2 positions; $3 slots; $4 attempts, this one included; $5 last errors.
-- Index: the primary key.
insert into event_attempts as a (projection_name, global_position, slot, attempts, last_error)
select $1, n.* from unnest($2::bigint[], $3::smallint[], $4::int[], $5::text[]) as n
on conflict (projection_name, global_position) do update
set attempts = excluded.attempts, attempted_at = clock_timestamp(),
    last_error = case when excluded.last_error = '' then a.last_error else excluded.last_error end
