-- Gives a projection the checkpoints of its shadow, and takes its partitions from their owners under new epochs.
-- $1: the live one; $2: the shadow. Lock: the rows, which the caller has. Index: the primary key.
update rouse.projection_checkpoints l
set last_global_position = s.last_global_position, event_id = s.event_id, event_position = s.event_position,
    owner = null, epoch = greatest(l.epoch, s.epoch) + 1, updated_at = clock_timestamp()
from rouse.projection_checkpoints s
where l.projection_name = $1 and s.projection_name = $2 and s.partition = l.partition
