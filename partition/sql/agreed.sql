-- Raises division_by_zero unless a projection still has a number of partitions, and a version, so that a claim that comes before it does not
-- commit; and for what is built beside a projection before its tables are there: under its name a worker may still run what was built before,
-- and find the live tables. It is a statement of its own, whose snapshot is younger than the wait for the claimed rows: a change of the number
-- holds all of them.
-- $1: projection; $2: the number; $3: the version; 0: any.
select 1 / (exists (select from rouse.projections where projection_name = $1 and partitions = $2 and $3::int in (0, version)
                    and (shadow_of is null or shadow_ready_at is not null)))::int
