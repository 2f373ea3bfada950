-- Whether a projection still has so many partitions. It comes after the claim, in a statement of its own, whose snapshot is
-- younger than the wait for the claimed rows: a change of the number holds all of them. $1: projection; $2: how many.
select exists (select from projections where projection_name = $1 and partitions = $2)
