-- Returns all presence locks ('rouP') that are held in this database, as KEY/PID. It reads no table, so it costs the same
-- however long a snapshot has kept the dead rows of projection_workers.
select coalesce(array_agg(objid || '/' || pid), '{}')
from pg_locks
where locktype = 'advisory' and objsubid = 2 and classid = 1919907152 and granted
  and database = (select oid from pg_database where datname = current_database())
