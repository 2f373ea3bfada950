-- Returns how many connections of the server are in use, and how many there are for ordinary roles.
-- The sum of the databases' counters, since sessions of other roles cannot be told apart without pg_read_all_stats.
select coalesce(sum(numbackends), 0)::int,
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
from pg_stat_database where datid <> 0
