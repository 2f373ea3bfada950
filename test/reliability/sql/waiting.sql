-- The events that wait for people, with how often they were tried and the last error: the first of each aggregate that is
-- set aside, if it has no time to be tried again. The others wait behind it.
select projection_name, aggregate_id, aggregate_version, attempts, coalesce(last_error, '')
from (select distinct on (projection_name, aggregate_type, aggregate_id) * from parked_events
      order by projection_name, aggregate_type, aggregate_id, global_position) heads
where due_at is null
