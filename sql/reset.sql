-- Moves all checkpoints of a projection, takes its partitions from their owners, and forgets what was parked and tried.
-- $1: projection; $2: position. Lock: the rows.
with locked as materialized (
  select partition from projection_checkpoints where projection_name = $1 order by partition for no key update
), moved as (
  update projection_checkpoints c set last_global_position = $2, owner = null, epoch = c.epoch + 1, updated_at = clock_timestamp()
  from locked l where c.projection_name = $1 and c.partition = l.partition
), unparked as (
  delete from parked_events where projection_name = $1
), untried as (
  delete from event_attempts where projection_name = $1
)
update projections set reset_to = null, reset_error = null where projection_name = $1
