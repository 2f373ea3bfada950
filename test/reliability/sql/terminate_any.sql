-- Ends one session of this database: the $1-th, counted round, of those that are not exempt. Returns how many it ended.
-- $1: a number; $2: application name of sessions that are exempt, which are those of the test itself.
with sessions as (
  select pid, row_number() over (order by pid) - 1 as place, count(*) over () as n from pg_stat_activity
  where datname = current_database() and application_name <> $2 and pid <> pg_backend_pid()
)
select count(*) filter (where pg_terminate_backend(pid)) from sessions where place = $1::bigint % n
