-- Locks a projection for a change of its number of partitions, and returns that number and whether another change holds a
-- barrier. $1: projection; $2: holder. Lock: the projection's row. Index: the primary key.
select partitions, coalesce(barrier_holder <> $2::text::uuid and barrier_until > clock_timestamp(), false)
from projections where projection_name = $1
for no key update
