-- How a shadow stands for taking the place: whether all checkpoints, its own and those of the live one, are the same; whether each of
-- its own is at or behind none of the live one's; the highest of all, and the lowest of its own; and whether a living member runs the live one, which is neither
-- paused nor stopped, so that it comes to a barrier. $1: the live one; $2: the shadow. Lock: none. Index: the primary keys.
select coalesce(min(least(l.last_global_position, s.last_global_position)) = max(greatest(l.last_global_position, s.last_global_position)), false),
       coalesce(bool_and(coalesce(s.last_global_position >= l.last_global_position, false)), false),
       coalesce(max(greatest(l.last_global_position, s.last_global_position)), 0), coalesce(min(s.last_global_position), 0),
       exists (select from rouse.projections p where p.projection_name = $1 and p.state = 'running' and p.stopped_at is null)
         and exists (select from rouse.rouse_members where alive and states ? $1)
from (select * from rouse.projection_checkpoints where projection_name = $1) l
full join (select * from rouse.projection_checkpoints where projection_name = $2) s on s.partition = l.partition
