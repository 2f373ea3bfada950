-- A save that tests nothing. $1: projection; $2: partitions; $3: the new position.
update projection_checkpoints set last_global_position = $3, updated_at = clock_timestamp()
where projection_name = $1 and partition = any ($2::int[])
