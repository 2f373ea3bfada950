-- Returns the transaction that holds a table for the longest time, so that nobody can have it alone: the table; the server's
-- process, or 0 of a prepared transaction; role; application; state; when it began; the name of the prepared transaction. No row if
-- nobody holds it. What this role may not see is empty, and no statement is shown, because statements have values in them.
-- $1: the table, found by search_path; '': any of the current schema.
-- Lock: none but on catalogs. Index: those of the catalogs.
select l.relation::regclass::text, coalesce(l.pid, 0), coalesce(a.usename, p.owner, '')::text, coalesce(a.application_name, ''),
       coalesce(case when a.backend_type <> 'client backend' then a.backend_type end, a.state, case when p.gid is not null then 'prepared' end, ''),
       coalesce(a.xact_start, p.prepared),
       coalesce(p.gid, '')
from pg_locks l
left join pg_stat_activity a on a.pid = l.pid
left join pg_locks x on l.pid is null and x.pid is null and x.virtualtransaction = l.virtualtransaction and x.locktype = 'transactionid'
left join pg_prepared_xacts p on p.transaction = x.transactionid
where l.locktype = 'relation' and l.granted and l.pid is distinct from pg_backend_pid()
  and l.database = (select oid from pg_database where datname = current_database())
  and (l.relation = to_regclass(nullif($1, ''))
       or $1 = '' and l.relation in (select oid from pg_class where relnamespace = current_schema()::regnamespace and relkind in ('r', 'v')))
order by coalesce(a.xact_start, p.prepared) nulls last, l.pid
limit 1
