-- The save, in the transaction of the effects. Moves the checkpoints of the batch, or raises division_by_zero in the server
-- if a single one of them has another owner, epoch or floor than the batch was read under, or if the database is another
-- incarnation. It must raise by itself: in a pipelined transaction an update of no rows would go on to COMMIT.
-- $1: projection; $2: instance; $3: token; $4, $5, $6: partitions with the epoch and floor of each; $7: the new position.
-- Lock: the rows, in the order of partitions, so that twins cannot deadlock. Index: the primary key.
with mine as materialized (
  select c.partition
  from projection_checkpoints c
  join unnest($4::int[], $5::bigint[], $6::bigint[]) as f (partition, epoch, floor) on f.partition = c.partition
  where c.projection_name = $1 and c.owner = $2::text::uuid and c.epoch = f.epoch and c.last_global_position = f.floor
  order by c.partition
  for no key update of c
), saved as (
  update projection_checkpoints c
  set last_global_position = $7, updated_at = clock_timestamp()
  from mine
  where c.projection_name = $1 and c.partition = mine.partition
    and exists (select from rouse_incarnation where token = $3::text::uuid)
  returning 1
)
select 1 / (count(*) = cardinality($4::int[]))::int from saved
