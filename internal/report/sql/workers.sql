-- The workers, by label, and whether each is alive by the rule that claims go by (partition/sql/claim.sql): dead is an
-- instance whose heartbeat is older than $1, or than $2 while its presence lock is not held either.
-- $1, $2: milliseconds. Index: none, the table has a row per worker.
select w.instance_id::text, w.label, w.assignment, w.worker_index, w.total_workers, w.host, w.pid, w.mode, w.states::text,
       w.events_handled, w.events_per_second::float8,
       extract(epoch from clock_timestamp() - w.last_wake_at)::float8,
       extract(epoch from clock_timestamp() - w.heartbeat_at)::float8,
       extract(epoch from clock_timestamp() - w.started_at)::float8,
       w.heartbeat_at > clock_timestamp() - interval '1 millisecond' * (case
         when w.presence is null or exists (
           select from pg_locks l
           where l.locktype = 'advisory' and l.objsubid = 2 and l.classid = 1919907152 and l.objid = w.presence::oid
             and l.database = (select oid from pg_database where datname = current_database()))
         then $1::bigint else $2::bigint end)
from projection_workers w
order by w.label, w.started_at
