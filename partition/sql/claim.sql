-- Claims partitions: makes this instance their owner under a new epoch, and returns where each stands. A save in flight
-- holds its rows, so the claim waits for it and then returns its result; a save that comes later finds another epoch.
-- Takes what nobody owns, what this instance owns already, and what a dead instance owns; from the living only if $5.
-- Dead is an instance whose heartbeat is older than $6, or than $7 while its presence lock is not held either.
-- $1: projection; $2: instance; $3: partitions; $4: token; $5: take from the living; $6, $7: milliseconds.
-- Lock: the rows, in the order of partitions. Index: the primary keys.
with free as materialized (
  select c.partition
  from projection_checkpoints c
  where c.projection_name = $1 and c.partition = any ($3::int[])
    and ($5::bool or c.owner is null or c.owner = $2::text::uuid or not exists (
      select from projection_workers w
      where w.instance_id = c.owner
        and w.heartbeat_at > clock_timestamp() - interval '1 millisecond' * (case
          when w.presence is null or exists (
            select from pg_locks l
            where l.locktype = 'advisory' and l.objsubid = 2 and l.classid = 1919907152 and l.objid = w.presence::oid
              and l.database = (select oid from pg_database where datname = current_database()))
          then $6::bigint else $7::bigint end)))
  order by c.partition
  for no key update of c
)
update projection_checkpoints c
set owner = $2::text::uuid, epoch = c.epoch + 1, updated_at = clock_timestamp()
from free
where c.projection_name = $1 and c.partition = free.partition
  and exists (select from rouse_incarnation where token = $4::text::uuid)
returning c.partition, c.epoch, c.last_global_position
