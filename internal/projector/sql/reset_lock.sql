-- Returns the reset that is requested of a projection: the position or null, whether it is forced, whether it goes back behind a
-- checkpoint, how often it was tried, and whether the next try is due. $1: projection.
-- Lock: its row, so that one worker does it; beside it attempts can be noted and events be parked, which refer to the row.
-- Index: the primary keys.
select reset_to, reset_force, coalesce((select max(last_global_position) > p.reset_to from rouse.projection_checkpoints c
                                        where c.projection_name = p.projection_name), false),
       reset_tries, coalesce(reset_due_at <= clock_timestamp(), true)
from rouse.projections p where projection_name = $1 for no key update
