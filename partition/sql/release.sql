-- Gives up partitions that this instance owns; the epoch rises, so nothing that it left in flight can still commit.
-- $1: projection; $2: instance; $3: partitions, or null for all of them. Lock: the rows, in the order of partitions.
with mine as materialized (
  select partition from rouse.projection_checkpoints
  where projection_name = $1 and owner = $2::text::uuid and ($3::int[] is null or partition = any ($3::int[]))
  order by partition for no key update
)
update rouse.projection_checkpoints c set owner = null, epoch = c.epoch + 1, updated_at = clock_timestamp()
from mine where c.projection_name = $1 and c.partition = mine.partition
