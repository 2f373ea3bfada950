-- Registers a member, or renews its row, which has everything that status shows of a worker, and looks at the others, as
-- watch.sql does. It does not wait for the disk: a heartbeat that a crash takes back is sent again.
-- $1: instance; $2: label; $3: assignment; $4: index; $5: total; $6: presence; $7: host; $8: pid; $9: mode; $10:
-- states; $11: events handled; $12: events per second; $13: last wake; $14: milliseconds that a heartbeat is valid by default;
-- $15: the maximum number of partitions of one projection, or null; $16: whether it is leaving; $17: the partitions
-- that it avoids; $18: the server's processes that hold its presence lock, or null; $19: pushes that it missed; $20:
-- what keeps its projections from getting on; $21: whether it has work in hand; $22: milliseconds that this heartbeat is
-- valid, or null: the default; $23: whether to return the highest position at which there is an event, too.
with settings as materialized (
  select case when current_setting('synchronous_commit') <> 'off' then set_config('synchronous_commit', 'off', true) end
), beat as (
insert into rouse.projection_workers as w (instance_id, label, assignment, worker_index, total_workers, presence, host, pid, mode,
                                     states, events_handled, events_per_second, last_wake_at, lease_ttl_ms, max_partitions, leaving,
                                     avoids, presence_pids, pushes_missed, pushes_missed_at, troubles, working, valid_ms)
select $1::text::uuid, $2, $3, $4, $5, $6, $7, $8, $9, $10::text::jsonb, $11, $12, $13, $14, $15, $16, $17::text::jsonb,
       $18::int[], $19, case when $19::bigint > 0 then clock_timestamp() end, $20::text::jsonb, $21, $22
from settings
on conflict (instance_id) do update
set presence = excluded.presence, mode = excluded.mode, states = excluded.states, events_handled = excluded.events_handled,
    events_per_second = excluded.events_per_second, last_wake_at = excluded.last_wake_at, leaving = excluded.leaving,
    avoids = excluded.avoids, presence_pids = excluded.presence_pids, pushes_missed = excluded.pushes_missed,
    pushes_missed_at = case when excluded.pushes_missed > w.pushes_missed then clock_timestamp() else w.pushes_missed_at end,
    troubles = excluded.troubles, working = excluded.working, valid_ms = excluded.valid_ms,
    heartbeat_at = clock_timestamp()
)
select count(*) + 1,
       coalesce(string_agg(concat_ws('/', instance_id, leaving, max_partitions, avoids, (select string_agg(name, ',' order by name) from jsonb_object_keys(states) name)),
                           ' ' order by instance_id), '')
         || coalesce((select string_agg(concat_ws('/', projection_name, partitions, case when barrier_until > clock_timestamp() then barrier end,
                                                  state = 'paused', reset_to, reset_due_at <= clock_timestamp()), ' ' order by projection_name)
                      from rouse.projections), ''),
       coalesce(bool_or(working), false),
       coalesce(array_agg(presence::oid || '/' || coalesce(array_to_string(presence_pids, '/'), '')) filter (where presence is not null), '{}'),
       (select extract(epoch from min(at) - clock_timestamp())::float8
        from rouse.projections, lateral (values (barrier_until), (reset_due_at)) as due (at) where at > clock_timestamp()),
       case when $23::bool then (select coalesce(max(global_position), 0) from rouse.events) end
from rouse.rouse_members where alive and instance_id <> $1::text::uuid
