-- Sets the barrier of a projection at its highest checkpoint, or renews the one that is there, unless another change has one.
-- Returns where it stands; no row: it is not this change's. $1: projection; $2: holder; $3: milliseconds that it holds; $4: move it.
-- Lock: the projection's row. Index: the primary keys.
update projections
set barrier = case when $4::bool or barrier_holder is distinct from $2::text::uuid then
      (select coalesce(max(c.last_global_position), 0) from projection_checkpoints c where c.projection_name = $1) else barrier end,
    barrier_holder = $2::text::uuid, barrier_until = clock_timestamp() + interval '1 millisecond' * $3::int
where projection_name = $1
  and (barrier_holder is null or barrier_holder = $2::text::uuid or barrier_until <= clock_timestamp())
returning barrier
