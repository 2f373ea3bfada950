-- Returns what keeps dead rows of this database from being cleaned up for longest: what it is (session, prepared, slot or standby), its
-- process (null: it has none), its name, role and state, how long it has done so in seconds (null: not known), and over how many
-- transactions. No row: nothing does. Sessions of other roles are seen with pg_read_all_stats only.
-- Lock: none. Index: none, these are views over the server's memory.
with held as (
  select 'session' as what, pid, application_name as name, coalesce(usename::text, '') as role, coalesce(state, '') as state,
         extract(epoch from clock_timestamp() - xact_start)::float8 as age, greatest(age(backend_xmin), age(backend_xid)) as transactions
  from pg_stat_activity
  where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()
    and (backend_xmin is not null or backend_xid is not null)
  union all
  select 'prepared', null, gid, owner::text, '', extract(epoch from clock_timestamp() - prepared)::float8, age(transaction)
  from pg_prepared_xacts where database = current_database()
  union all
  select 'slot', active_pid, slot_name::text, '', case when active then 'active' else 'inactive' end, null, age(xmin)
  from pg_replication_slots where xmin is not null
  union all
  select 'standby', pid, application_name, coalesce(usename::text, ''), coalesce(state, ''), null, age(backend_xmin)
  from pg_stat_replication where backend_xmin is not null
)
select what, pid, left(name, 300), role, state, age, transactions::bigint from held order by transactions desc, age desc nulls last limit 1
