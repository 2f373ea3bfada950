-- Returns the transactions of this database that were left open: sessions that are idle in one, and prepared ones (no
-- process id).
-- $1: the minimum age, in seconds. Returns process id, program or name, role, age in seconds.
select pid, application_name, coalesce(usename::text, ''), extract(epoch from clock_timestamp() - xact_start)::float8 as age
from pg_stat_activity
where datname = current_database() and state like 'idle in transaction%' and xact_start < clock_timestamp() - interval '1 second' * $1::float8
union all
select null, gid, owner::text, extract(epoch from clock_timestamp() - prepared)::float8
from pg_prepared_xacts
where database = current_database() and prepared < clock_timestamp() - interval '1 second' * $1::float8
order by age desc limit 10
