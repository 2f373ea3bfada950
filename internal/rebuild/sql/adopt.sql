-- Makes a version of a projection the live one where no worker of any version has had a partition yet.
-- $1: projection; $2: the version. Lock: the rows, in the order of partitions. Index: the primary keys.
with locked as materialized (
  select epoch from rouse.projection_checkpoints where projection_name = $1 order by partition for no key update
)
update rouse.projections set version = $2::int
where projection_name = $1 and version < $2::int and shadow_of is null
  and not exists (select from locked where epoch > 0)
