-- Makes a version of a projection the live one where no worker of any version has had a partition yet.
-- $1: projection; $2: the version. Lock: the projection's row and then those of the checkpoints, in the order of partitions, as whoever
-- changes them does; none where this version, or one above it, is live. Index: the primary keys.
with p as materialized (
  select projection_name from rouse.projections where projection_name = $1 and version < $2::int and shadow_of is null for no key update
), locked as materialized (
  select epoch from rouse.projection_checkpoints where projection_name = (select p.projection_name from p) order by partition for no key update
)
update rouse.projections set version = $2::int
from p where projections.projection_name = p.projection_name
  and not exists (select from locked where epoch > 0)
