-- Gives up what this instance owns of a projection; the epoch rises, so nothing it left in flight can still commit.
-- $1: projection; $2: instance. Lock: the rows, in the order of partitions.
with mine as materialized (
  select partition from projection_checkpoints
  where projection_name = $1 and owner = $2::text::uuid
  order by partition for no key update
)
update projection_checkpoints c set owner = null, epoch = c.epoch + 1, updated_at = clock_timestamp()
from mine where c.projection_name = $1 and c.partition = mine.partition
