-- Takes partitions of projections that were left out of account from their owners, under new epochs, so that nothing that they read beside the
-- removal can be saved. They claim again, and are then refused for good.
-- $1: the projections; $2: those of their checkpoints that are below. Lock: the rows, in the order of partitions.
with behind as materialized (
  select projection_name, partition from projection_checkpoints
  where projection_name = any ($1::text[]) and last_global_position < $2
  order by projection_name, partition for no key update
)
update projection_checkpoints c set owner = null, epoch = c.epoch + 1, updated_at = clock_timestamp()
from behind b where c.projection_name = b.projection_name and c.partition = b.partition
