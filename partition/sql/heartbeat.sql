-- Registers a member, or says that it is still there. Everything that status shows of a worker is in this row.
-- $1: instance; $2: label; $3: assignment; $4: index; $5: total; $6: presence; $7: host; $8: pid; $9: mode; $10: states;
-- $11: events handled; $12: events per second; $13: last wake.
insert into projection_workers as w (instance_id, label, assignment, worker_index, total_workers, presence, host, pid, mode,
                                     states, events_handled, events_per_second, last_wake_at)
values ($1::text::uuid, $2, $3, $4, $5, $6, $7, $8, $9, $10::text::jsonb, $11, $12, $13)
on conflict (instance_id) do update
set presence = excluded.presence, mode = excluded.mode, states = excluded.states, events_handled = excluded.events_handled,
    events_per_second = excluded.events_per_second, last_wake_at = excluded.last_wake_at, heartbeat_at = clock_timestamp()
