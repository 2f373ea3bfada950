-- Returns the projections, with the cause if they are stopped, and the reset that is wanted of them. The first 2,000
-- characters of errors are read: they may quote what an event holds. Index: the primary key.
select projection_name, partitions, state, coalesce(left(last_error, 2000), ''), error_position,
       extract(epoch from clock_timestamp() - error_at)::float8,
       state = 'stopped' or state = 'paused' and stopped_at is not null,
       reset_to, reset_tries, coalesce(left(reset_error, 2000), '')
from projections
order by projection_name
