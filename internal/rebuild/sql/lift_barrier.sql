-- Takes one's own barrier away. $1: the two names; $2: the holder. Lock: the rows. Index: the primary key.
update rouse.projections set barrier = null, barrier_holder = null, barrier_until = null
where projection_name = any ($1::text[]) and barrier_holder = $2::text::uuid
