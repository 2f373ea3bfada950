-- Ends the sessions that listen and no others. Two sessions of each worker hold its presence lock ('rouP'); the other of them
-- sends heartbeats and watches the members, so its last statement speaks of these tables. Returns how many it ended.
select count(*) filter (where pg_terminate_backend(pid))
from pg_stat_activity
where query !~ 'projection_workers|rouse_members'
  and pid in (select pid from pg_locks
              where locktype = 'advisory' and objsubid = 2 and classid = 1919907152 and granted
                and database = (select oid from pg_database where datname = current_database()))
