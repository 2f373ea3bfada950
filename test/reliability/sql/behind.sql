-- How many checkpoints stand below the last event, of how many, and of how many projections.
select count(*) filter (where last_global_position < (select coalesce(max(global_position), 0) from events)), count(*),
       count(distinct projection_name)
from projection_checkpoints
