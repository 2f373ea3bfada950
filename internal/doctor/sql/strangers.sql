-- Returns the sessions that hold, or wait for, a lock of the protocol in another way than Rouse does, which only shares them for
-- longer than an instant: the process (0: a prepared transaction), its role and program as far as they can be seen, the lock, and
-- whether it holds it. The locks are K ('K'), S ('S') and the presence of workers ('presence').
-- Lock: none. Cost: a walk over the lock table.
select coalesce(l.pid, 0), coalesce(min(a.usename::text), ''), coalesce(min(a.application_name), ''),
       case when l.objsubid = 1 then 'K' when l.classid = 1919907155 then 'S' else 'presence' end as lock, bool_or(l.granted)
from pg_locks l left join pg_stat_activity a on a.pid = l.pid, (select 'events'::regclass::oid as oid) e
where l.locktype = 'advisory' and l.database = (select oid from pg_database where datname = current_database()) and l.mode <> 'ShareLock'
  and (l.objsubid = 1 and l.classid::bigint >> 8 = (e.oid::bigint & 16777215)
       or l.objsubid = 2 and l.classid = 1919907155 and l.objid = e.oid
       or l.objsubid = 2 and l.classid in (1919907152, 1919907159))
group by 1, 4
order by 1, 4
