-- Creates the checkpoints of a projection's partitions that have none yet, where the projection began, and returns the number of its
-- partitions and of the checkpoints created.
-- $1: projection. Index: the primary keys. Lock: the projection's row, shared, so that no checkpoint is made for a
-- partition that is just being taken away.
with p as materialized (select partitions, starts_behind from rouse.projections where projection_name = $1 for share),
made as (
  insert into rouse.projection_checkpoints (projection_name, partition, last_global_position)
  select $1, n, p.starts_behind from p, generate_series(0, p.partitions - 1) as n
  where not exists (select from rouse.projection_checkpoints c where c.projection_name = $1 and c.partition = n)
  order by n
  on conflict do nothing
  returning 1
)
select partitions, (select count(*) from made) from p
