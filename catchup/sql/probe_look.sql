-- Looks at the locks of probe_hold.sql as low_water.sql does: how many of the processes are seen to hold K, and how many any
-- advisory lock at all; and whether this statement sees a transaction that has committed since the first statement of this one.
-- $1: the processes; $2: their keys; $3: oid of events; $4: oid of this database; $5: the id of the transaction.
select count(distinct l.pid) filter (
         where l.database = $4::bigint::oid and l.objsubid = 1 and l.mode = 'ShareLock' and l.classid::bigint >> 8 = ($3::bigint & 16777215)
           and ((l.classid::bigint << 32) | l.objid::bigint) = any ($2::bigint[])),
       count(distinct l.pid), pg_visible_in_snapshot($5::text::xid8, pg_current_snapshot())
from pg_locks l
where l.locktype = 'advisory' and l.pid = any ($1::int[])
