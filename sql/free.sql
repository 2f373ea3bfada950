-- Counts those of a batch's checkpoints that no other session has locked: where some are missing, it was the save that waited
-- and not the handler that was slow.
-- $1: projection; $2: partitions. Lock: the rows that are free, until the end of the statement. Index: the primary key.
select count(*) from (
  select from projection_checkpoints where projection_name = $1 and partition = any ($2::int[]) for no key update skip locked
) free
