-- Returns the projections, with the cause if they are stopped, the reset that is wanted of them, and, of what is
-- built beside a projection, how far it is. The first 2,000
-- characters of errors are read: they may quote what an event holds. Index: the primary key.
select projection_name, partitions, state, coalesce(left(last_error, 2000), ''), error_position,
       extract(epoch from clock_timestamp() - error_at)::float8,
       state = 'stopped' or state = 'paused' and stopped_at is not null,
       reset_to, reset_tries, coalesce(left(reset_error, 2000), ''),
       version, shadow_of, coalesce(shadow_from, 0), coalesce(left(shadow_error, 2000), ''),
       extract(epoch from clock_timestamp() - shadow_ready_at)::float8
from projections
order by projection_name
