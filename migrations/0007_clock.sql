-- 0007 clock: a server's clock that was set back does not keep workers that were killed among the living.
-- oldest binary that works on it: 2

-- As in migration 3: alive is who has sent a heartbeat within its time and whose presence lock, if it has one, is held; and
-- whoever spoke in the ten minutes before a restart gets its time once more, from the restart on.
-- A restart that is in the future is none: the clock was set back behind it, and until it passed that time again nobody would
-- be dead who had spoken shortly before.
create or replace view rouse_members as
with held as materialized (
  select l.objid from pg_locks l
  where l.locktype = 'advisory' and l.objsubid = 2 and l.classid = 1919907152 and l.granted
    and l.database = (select oid from pg_database where datname = current_database())
), restart as materialized (
  select coalesce(max(at), '-infinity') as at
  from (select pg_postmaster_start_time() as at union all select r.at from rouse_restart r) known
  where at <= clock_timestamp()
)
select w.instance_id, w.assignment, w.max_partitions, w.leaving, w.avoids, w.presence, w.states, w.started_at,
       w.heartbeat_at > clock_timestamp() - ttl.value and (w.presence is null or w.presence::oid in (select objid from held))
       or restart.at > clock_timestamp() - ttl.value and w.heartbeat_at > restart.at - interval '10 minutes' as alive
from projection_workers w, restart, lateral (select interval '1 millisecond' * w.lease_ttl_ms as value) ttl;
