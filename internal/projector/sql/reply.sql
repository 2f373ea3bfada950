-- Tells those who wait how far a projection has come, if the partitions are still owned as they were when it came there.
-- $1: channel; $2: the reply; $3: projection; $4: instance; $5: partitions; $6: their epochs. Index: the primary key.
-- Lock: the one that every notification takes at its commit.
with off as materialized (select set_config('synchronous_commit', 'off', true))
select pg_notify($1::text, $2::text) from off
where not exists (
  select from unnest($5::int[], $6::bigint[]) as f (partition, epoch)
  left join rouse.projection_checkpoints c on c.projection_name = $3 and c.partition = f.partition
  where c.epoch is distinct from f.epoch or c.owner is distinct from $4::text::uuid)
