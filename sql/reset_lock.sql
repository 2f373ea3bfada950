-- Whether, and how, a projection is to start over. $1: projection. Lock: its row, so that one worker does it.
select reset_to, reset_force, coalesce((select max(last_global_position) > p.reset_to from projection_checkpoints c
                                        where c.projection_name = p.projection_name), false)
from projections p where projection_name = $1 for update
