-- Moves all checkpoints of a projection, takes its partitions from their owners, and deletes its parked events and
-- attempts.
-- $1: projection; $2: position. Lock: the rows, in the order of partitions.
with locked as materialized (
  select partition from rouse.projection_checkpoints where projection_name = $1 order by partition for no key update
), moved as (
  update rouse.projection_checkpoints c set last_global_position = $2, owner = null, epoch = c.epoch + 1, updated_at = clock_timestamp()
  from locked l where c.projection_name = $1 and c.partition = l.partition
), unparked as (
  delete from rouse.parked_events where projection_name = $1
), untried as (
  delete from rouse.event_attempts where projection_name = $1
)
update rouse.projections set reset_to = null, reset_error = null, reset_tries = 0, reset_due_at = null where projection_name = $1
