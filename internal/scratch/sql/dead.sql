-- Returns the databases of processes that are gone: no session holds the lock of their token, in whatever database. Reads catalogs alone.
-- The keys of advisory locks of two integers stand in classid and objid, as unsigned ones.
select d.datname::text
from pg_database d
where d.datname ~ '^rousetest_[0-9a-f]{8}_[0-9]+$'
  and not exists (select from pg_locks l where l.locktype = 'advisory' and l.objsubid = 2 and l.classid = 1919907156
                  and l.objid::bigint = hashtext(substring(d.datname::text from '^rousetest_[0-9a-f]{8}'))::bigint & 4294967295)
order by d.datname
