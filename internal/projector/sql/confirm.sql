-- Returns whether a projection is not to start over, and partitions are still owned as they were when it was told how far they have come:
-- whoever starts over, pauses, or takes one raises its epoch; or else whether all of its checkpoints are that far.
-- $1: projection; $2: instance; $3: partitions; $4: their epochs; $5: how far. Index: the primary keys. Lock: none.
select not exists (select from rouse.projections where projection_name = $1 and reset_to is not null)
   and (not exists (
          select from unnest($3::int[], $4::bigint[]) as f (partition, epoch)
          left join rouse.projection_checkpoints c on c.projection_name = $1 and c.partition = f.partition
          where c.epoch is distinct from f.epoch or c.owner is distinct from $2::text::uuid)
        or not exists (select from rouse.projection_checkpoints where projection_name = $1 and last_global_position < $5))
