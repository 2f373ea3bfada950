-- Claims partitions: makes this instance their owner under a new epoch, and returns where each stands and whether
-- its last owner had not given it up. A save in flight
-- holds its rows, so the claim waits for it and then returns its result; a save that comes later finds another epoch.
-- Takes what nobody owns, what this instance owns already, and what a dead instance owns; from the living only if $5.
-- $1: projection; $2: instance; $3: partitions; $4: token; $5: take from the living.
-- Lock: the rows, in the order of partitions. Index: the primary keys.
with living as materialized (
  select instance_id from rouse_members where alive
), free as materialized (
  select c.partition, c.owner is not null and c.owner <> $2::text::uuid as inherited
  from projection_checkpoints c
  where c.projection_name = $1 and c.partition = any ($3::int[])
    and ($5::bool or c.owner is null or c.owner = $2::text::uuid or c.owner not in (select instance_id from living))
  order by c.partition
  for no key update of c
)
update projection_checkpoints c
set owner = $2::text::uuid, epoch = c.epoch + 1, updated_at = clock_timestamp()
from free
where c.projection_name = $1 and c.partition = free.partition
  and exists (select from rouse_incarnation where token = $4::text::uuid)
returning c.partition, c.epoch, c.last_global_position, free.inherited
