-- Locks the checkpoints of a projection and its shadow: saves and claims in flight are waited for, and later ones wait.
-- $1: the two names. Lock: the rows, in the order of names and partitions. Index: the primary key.
select count(*) from (
  select from rouse.projection_checkpoints where projection_name = any ($1::text[])
  order by projection_name collate "C", partition for no key update) locked
