-- Returns those of some projections that have all of their checkpoints, with the numbers of their partitions. It locks nothing:
-- a change of a number that is under way does not hold up the others, and the claim finds it.
-- $1: the names. Index: the primary keys.
select p.projection_name, p.partitions
from rouse.projections p
where p.projection_name = any ($1::text[])
  and p.partitions = (select count(*) from rouse.projection_checkpoints c where c.projection_name = p.projection_name)
