-- Takes all partitions of a projection from their owners under new epochs, so that nothing in flight can commit any more.
-- $1: projection. Lock: the rows, in the order of partitions. Index: the primary key.
with all_of as materialized (
  select partition from rouse.projection_checkpoints where projection_name = $1 order by partition for no key update
)
update rouse.projection_checkpoints c set owner = null, epoch = c.epoch + 1, updated_at = clock_timestamp()
from all_of a where c.projection_name = $1 and c.partition = a.partition
