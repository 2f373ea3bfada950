-- Locks a shadow and the projection whose place it is to take, and returns what they are, and whether another process changes one of
-- them. $1: the shadow; $2: the holder of the barrier.
-- Lock: both rows, in the order of names. Index: the primary keys.
with names as materialized (
  select array[s.projection_name, s.shadow_of] as names, s.projection_name as shadow, s.shadow_of as live
  from rouse.projections s where s.projection_name = $1 and s.shadow_of is not null
), locked as materialized (
  select p.* from rouse.projections p where p.projection_name = any ((select names.names from names)::text[])
  order by p.projection_name collate "C" for update
)
select l.projection_name, l.version, s.version, l.partitions, s.partitions, coalesce(l.tables, '{}'), coalesce(s.tables, '{}'),
       coalesce(l.tables_schema, ''), coalesce(s.tables_schema, ''), s.shadow_ready_at is not null,
       coalesce(l.barrier_holder <> $2::text::uuid and l.barrier_until > clock_timestamp()
             or s.barrier_holder <> $2::text::uuid and s.barrier_until > clock_timestamp(), false)
from names n join locked l on l.projection_name = n.live join locked s on s.projection_name = n.shadow
