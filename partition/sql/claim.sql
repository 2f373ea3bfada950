-- Claims partitions: makes this instance their owner under a new epoch, and returns the epoch and checkpoint of each,
-- whether its last owner had not given it up, and the event that the checkpoint stands at, '' if that is not known,
-- and where its row is. A save in flight holds its rows, so the claim waits for it and then
-- returns its result; a save that comes later finds another epoch. Takes the partitions without an owner, those of this
-- instance, and those of a dead instance; those of a living one only if $5.
-- $1: projection; $2: instance; $3: partitions; $4: token; $5: take from the living.
-- Lock: the rows, in the order of partitions. Index: the primary keys.
with living as materialized (
  select instance_id from rouse.rouse_members where alive
), free as materialized (
  select c.partition, c.owner is not null and c.owner <> $2::text::uuid as inherited
  from rouse.projection_checkpoints c
  where c.projection_name = $1 and c.partition = any ($3::int[])
    and ($5::bool or c.owner is null or c.owner = $2::text::uuid or c.owner not in (select instance_id from living))
  order by c.partition
  for no key update of c
)
update rouse.projection_checkpoints c
set owner = $2::text::uuid, epoch = c.epoch + 1, updated_at = clock_timestamp()
from free
where c.projection_name = $1 and c.partition = free.partition
  and exists (select from rouse.rouse_incarnation where rouse.rouse_incarnation_now(token) = $4::text)
returning c.partition, c.epoch, c.last_global_position, free.inherited,
          coalesce(case when c.event_position = c.last_global_position then c.event_id::text end, ''), c.ctid
