-- Takes one's own barrier away. $1: projection; $2: holder. Lock: the projection's row. Index: the primary key.
update projections set barrier = null, barrier_holder = null, barrier_until = null
where projection_name = $1 and barrier_holder = $2::text::uuid
