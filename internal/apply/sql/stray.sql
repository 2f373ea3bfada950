-- Fails with the names of the tables that the transaction has written to outside of a schema, if there are any: in the error, since
-- nothing may be committed then. What a transaction writes to it has locked for writing.
-- $1: the schema; $2: that of the log, whose checkpoints the worker itself writes. Lock: none. Index: the primary key of the catalog.
select string_agg(format('%I.%I', n.nspname, c.relname), ', ' order by n.nspname, c.relname)::int
from pg_locks l join pg_class c on c.oid = l.relation join pg_namespace n on n.oid = c.relnamespace
where l.pid = pg_backend_pid() and l.locktype = 'relation' and l.mode not in ('AccessShareLock', 'RowShareLock')
  and l.database = (select oid from pg_database where datname = current_database())
  and c.relkind in ('r', 'p') and n.nspname <> $1::text and n.oid <> pg_my_temp_schema() and n.nspname <> 'pg_catalog'
  and not (n.nspname = $2::text and c.relname in ('projection_checkpoints', 'projections', 'parked_events', 'event_attempts'))
