-- Returns transactions that have appended, are still open, and hold back events that were committed behind them: the
-- holders of K (see the append trigger), each with its session. A prepared transaction has no session; its name is
-- found through the lock on its own transaction id, which stands under the same virtual transaction.
-- A role without pg_read_all_stats does not see the age and the program of sessions of other roles: null, and shown.
-- $1: younger ones are left out, in seconds. Returns the session's pid (null: prepared), program, role, state, the
-- prepared transaction's name, its age in seconds, and the last position that is not held back.
-- The key's 40 bits are unfolded around the head; the first append of a log holds one below 0. Cost: a walk of the lock
-- table.
with h as materialized (
  select coalesce(pg_sequence_last_value(pg_get_serial_sequence('events', 'global_position')::regclass), 0) as h,
         'events'::regclass::oid::bigint & 16777215 as tag,
         (select oid from pg_database where datname = current_database()) as db
), locks as materialized (
  select locktype, pid, virtualtransaction, transactionid, mode, database, objsubid, classid::bigint, objid::bigint from pg_locks
), holders as (
  select l.pid, l.virtualtransaction,
         h.h + (((((l.classid << 32) | l.objid) & 1099511627775) - h.h + 549755813888) & 1099511627775) - 549755813888 as low
  from h, locks l
  where l.locktype = 'advisory' and l.database = h.db and l.objsubid = 1 and l.mode = 'ShareLock' and l.classid >> 8 = h.tag
), named as (
  select o.pid, a.application_name, a.usename::text as role, a.state, p.gid,
         extract(epoch from clock_timestamp() - coalesce(a.xact_start, p.prepared))::float8 as age, o.low
  from holders o
  left join pg_stat_activity a on a.pid = o.pid
  left join (locks x join pg_prepared_xacts p on p.transaction = x.transactionid and x.locktype = 'transactionid' and x.pid is null)
    on o.pid is null and x.virtualtransaction = o.virtualtransaction
)
select pid, coalesce(application_name, ''), coalesce(role, ''), coalesce(state, ''), coalesce(gid, ''), age, greatest(low, 0)
from named
where (age is null or age >= $1::float8) and exists (select from events where global_position > low)
order by age desc nulls last, pid
