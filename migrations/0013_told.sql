-- 0013 told: members are told of each other's coming and going, so that nobody need ask while nothing happens.
-- oldest binary that works on it: 2
-- locks: rouse_members, projections, projection_workers, parked_events
--
-- Takes ACCESS EXCLUSIVE on projection_workers, projections and parked_events for a moment; nothing is rewritten. Binaries of
-- version 11 look at the members as often as before, and leave the columns at their defaults.

-- working: a projection of the worker has work in hand: a handler runs, or there is more to catch up with. Whoever could take
-- over looks at the members often for as long as one of them says so.
-- valid_ms: how old the present heartbeat may be before the worker counts as dead, where that is longer than lease_ttl_ms because
-- the next one comes late; null: lease_ttl_ms.
alter table projection_workers
  add column working boolean not null default false,
  add column valid_ms int check (valid_ms > 0);

-- As in migration 8, with the time for which each heartbeat is valid, and whether a member is working. After a restart everybody
-- speaks at once, so who does not is given no longer than before, lease_ttl_ms, however long the last heartbeat was valid.
create or replace view rouse_members as
with held as materialized (
  select l.objid, l.pid from pg_locks l
  where l.locktype = 'advisory' and l.objsubid = 2 and l.classid = 1919907152 and l.granted
    and l.database = (select oid from pg_database where datname = current_database())
), restart as materialized (
  select coalesce(max(at), '-infinity') as at
  from (select pg_postmaster_start_time() as at union all select r.at from rouse_restart r) known
  where at <= clock_timestamp()
)
select w.instance_id, w.assignment, w.max_partitions, w.leaving, w.avoids, w.presence, w.states, w.started_at,
       w.heartbeat_at > clock_timestamp() - ttl.valid
         and (w.presence is null
              or exists (select from held h where h.objid = w.presence::oid and (w.presence_pids is null or h.pid = any (w.presence_pids))))
       or restart.at > clock_timestamp() - ttl.value and w.heartbeat_at > restart.at - greatest(interval '10 minutes', ttl.late) as alive,
       w.presence_pids, w.working
from projection_workers w, restart,
     lateral (select interval '1 millisecond' * w.lease_ttl_ms as value, interval '1 millisecond' * coalesce(w.valid_ms, w.lease_ttl_ms) as valid,
                     interval '1 millisecond' * w.valid_ms as late) ttl;

-- Tells all members of the log, whose events are in the schema of the table, that they should look: on the channel of their
-- table of events, as the push is, with "_members" behind it and without a payload. What tells is a change that others plan by,
-- and never a plain heartbeat, because a transaction that notifies waits for a lock of the whole server. It can be lost; so a
-- look at intervals goes on beside it.
create function rouse_tell_members() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  events constant oid := to_regclass(format('%I.%I', tg_table_schema, 'events'));
begin
  if events is not null then
    perform pg_notify('rouse_' || events || '_members', '');
  end if;
  return null;
end $$;

-- The same for a heartbeat with other states, which matter to others only if they are of other projections.
create function rouse_tell_members_states() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  events constant oid := to_regclass(format('%I.%I', tg_table_schema, 'events'));
begin
  if events is not null and array(select jsonb_object_keys(old.states) order by 1) <> array(select jsonb_object_keys(new.states) order by 1) then
    perform pg_notify('rouse_' || events || '_members', '');
  end if;
  return null;
end $$;
revoke execute on function rouse_tell_members(), rouse_tell_members_states() from public;

create trigger rouse_tell_joined after insert or delete on projection_workers
  for each row execute function rouse_tell_members();
-- The last condition: one that was silent for longer than its time is back.
create trigger rouse_tell_changed after update on projection_workers
  for each row when (old.leaving is distinct from new.leaving or old.max_partitions is distinct from new.max_partitions
                     or old.avoids is distinct from new.avoids
                     or new.heartbeat_at > old.heartbeat_at + interval '1 millisecond' * coalesce(old.valid_ms, old.lease_ttl_ms))
  execute function rouse_tell_members();
create trigger rouse_tell_states after update on projection_workers
  for each row when (old.states is distinct from new.states) execute function rouse_tell_members_states();

create trigger rouse_tell_wishes after update on projections
  for each row when ((old.state = 'paused') is distinct from (new.state = 'paused') or old.partitions <> new.partitions
                     or old.barrier is distinct from new.barrier or old.reset_to is distinct from new.reset_to
                     or old.reset_force <> new.reset_force or old.reset_due_at is distinct from new.reset_due_at)
  execute function rouse_tell_members();

-- Somebody wants parked events to be tried again.
create trigger rouse_tell_retry after update on parked_events
  for each row when (new.retry_requested_at is not null and old.retry_requested_at is distinct from new.retry_requested_at)
  execute function rouse_tell_members();
