-- Locks all checkpoints of a projection, in the order of partitions: saves and claims in flight are waited for, and later ones
-- wait. $1: projection. Index: the primary key.
select count(*) from (
  select 1 from projection_checkpoints where projection_name = $1 order by partition for no key update) locked
