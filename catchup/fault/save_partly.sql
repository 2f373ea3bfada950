-- A save that does not test the incarnation and, unless $7, not the floor.
-- $1: projection; $2: instance; $3, $4, $5: partitions with the epoch and floor of each; $6: the new position.
with saved as (
  update projection_checkpoints c set last_global_position = $6, updated_at = clock_timestamp()
  from unnest($3::int[], $4::bigint[], $5::bigint[]) as f (partition, epoch, floor)
  where f.partition = c.partition and c.projection_name = $1 and c.owner = $2::text::uuid and c.epoch = f.epoch
    and (c.last_global_position = f.floor or not $7::bool)
  returning 1
)
select 1 / (count(*) = cardinality($3::int[]))::int from saved
