-- Locks partitions until the end of the transaction, as the save does later in it.
-- $1: projection; $2: partitions. Lock: the rows, in the order of partitions. Index: the primary key.
select partition from rouse.projection_checkpoints where projection_name = $1 and partition = any ($2::int[])
order by partition for no key update
