-- Writes the new number of partitions down and takes the barrier away. $1: projection; $2: partitions. Index: the primary key.
update projections set partitions = $2::int, barrier = null, barrier_holder = null, barrier_until = null
where projection_name = $1
