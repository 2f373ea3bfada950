-- Asks for an event to be passed over, and returns its partition. No row if there is no such event, or if the projection has
-- it behind it already. $1: projection; $2: position. Under the lock of skip_lock.sql,
-- in a statement of its own. Index: the primary keys.
with e as (
  select e.global_position, e.slot, c.partition
  from events e join projections p on p.projection_name = $1
  join projection_checkpoints c on c.projection_name = $1 and c.partition = e.slot::int & (p.partitions - 1)
  where e.global_position = $2 and c.last_global_position < $2
), asked as (
  insert into event_attempts (projection_name, global_position, slot, attempts, skip)
  select $1, global_position, slot, 0, true from e
  on conflict (projection_name, global_position) do update set skip = true
)
select partition from e
