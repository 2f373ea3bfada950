-- Returns the events of some partitions that were tried and not finished. $1: projection; $2: its number of partitions;
-- $3: the partitions. Index: the primary key.
select global_position, attempts, last_error, skip, before_start from rouse.event_attempts
where projection_name = $1 and slot::int & ($2::int - 1) = any ($3::int[])
