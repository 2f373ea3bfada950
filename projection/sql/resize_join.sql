-- Takes away the checkpoints that halving leaves over. The caller has seen, under the locks, that each is equal to the one that
-- stays for it. $1: projection; $2: partitions from now on. Index: the primary key.
delete from projection_checkpoints where projection_name = $1 and partition >= $2::int
