-- How many checkpoints stand below the last event, of how many.
select count(*) filter (where last_global_position < (select coalesce(max(global_position), 0) from events)), count(*)
from projection_checkpoints
