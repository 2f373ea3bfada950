-- Creates those of some projections that do not exist, each with all of its checkpoints. It waits only for others that create the
-- same ones; the order of names keeps two from waiting for each other.
-- $1: the names; $2: the number of partitions of each.
with made as (
  insert into rouse.projections (projection_name, partitions)
  select name, $2::int from unnest($1::text[]) as name order by name collate "C"
  on conflict do nothing
  returning projection_name, partitions
)
insert into rouse.projection_checkpoints (projection_name, partition)
select projection_name, n from made, generate_series(0, partitions - 1) as n
