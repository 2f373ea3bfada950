-- Registers a member, or says that it is still there. Everything that status shows of a worker is in this row. Nobody waits
-- for the disk: a heartbeat that a crash takes back is sent again.
-- $1: instance; $2: label; $3: assignment; $4: index; $5: total; $6: presence; $7: host; $8: pid; $9: mode; $10: states;
-- $11: events handled; $12: events per second; $13: last wake; $14: milliseconds that a heartbeat is good for;
-- $15: most partitions of one projection, or null; $16: is it leaving; $17: what it avoids.
with settings as materialized (
  select case when current_setting('synchronous_commit') <> 'off' then set_config('synchronous_commit', 'off', true) end
)
insert into projection_workers as w (instance_id, label, assignment, worker_index, total_workers, presence, host, pid, mode,
                                     states, events_handled, events_per_second, last_wake_at, lease_ttl_ms, max_partitions, leaving,
                                     avoids)
select $1::text::uuid, $2, $3, $4, $5, $6, $7, $8, $9, $10::text::jsonb, $11, $12, $13, $14, $15, $16, $17::text::jsonb from settings
on conflict (instance_id) do update
set presence = excluded.presence, mode = excluded.mode, states = excluded.states, events_handled = excluded.events_handled,
    events_per_second = excluded.events_per_second, last_wake_at = excluded.last_wake_at, leaving = excluded.leaving,
    avoids = excluded.avoids, heartbeat_at = clock_timestamp()
