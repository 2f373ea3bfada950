-- Takes partitions from their owners under new epochs, so that nothing in flight can commit any more.
-- $1: projection; $2: partitions, or null for all of them. Lock: the rows, in the order of partitions.
with all_of as materialized (
  select partition from projection_checkpoints where projection_name = $1 and ($2::int[] is null or partition = any ($2::int[]))
  order by partition for no key update
)
update projection_checkpoints c set owner = null, epoch = c.epoch + 1, updated_at = clock_timestamp()
from all_of a where c.projection_name = $1 and c.partition = a.partition
