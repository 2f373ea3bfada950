-- The projections and why they stand still, if they do. Index: the primary key.
select projection_name, partitions, state, coalesce(last_error, ''), error_position,
       extract(epoch from clock_timestamp() - error_at)::float8
from projections
order by projection_name
