-- The events that were tried and not finished, in some partitions. $1: projection; $2: how many partitions there are;
-- $3: which. Index: the primary key.
select global_position, attempts, last_error, skip from event_attempts
where projection_name = $1 and slot::int & ($2::int - 1) = any ($3::int[])
