-- Sets one barrier for a projection and its shadow, at the highest checkpoint of both, or the last event where that is to be the end of the
-- log; or renews it. Returns where it stands, a row for
-- each of the two that it could be set for. $1: the two names; $2: the holder; $3: milliseconds that it holds; $4: move it; $5: to the end.
-- Lock: the rows, in the order of names. Index: the primary keys.
with high as materialized (
  select greatest((select max(last_global_position) from rouse.projection_checkpoints where projection_name = any ($1::text[])),
                  case when $5::bool then (select max(global_position) from rouse.events) end, 0) as at
), free as materialized (
  select projection_name from rouse.projections
  where projection_name = any ($1::text[])
    and (barrier_holder is null or barrier_holder = $2::text::uuid or barrier_until <= clock_timestamp())
  order by projection_name collate "C" for no key update
)
update rouse.projections p
set barrier = case when $4::bool or p.barrier_holder is distinct from $2::text::uuid then high.at else p.barrier end,
    barrier_holder = $2::text::uuid, barrier_until = clock_timestamp() + interval '1 millisecond' * $3::int
from high, free where p.projection_name = free.projection_name
returning p.barrier
