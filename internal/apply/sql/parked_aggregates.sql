-- Returns the aggregates with parked events in some partitions. $1: projection; $2: its number of partitions; $3: the
-- partitions. Index: the one on aggregates.
select distinct aggregate_type, aggregate_id from rouse.parked_events
where projection_name = $1 and slot::int & ($2::int - 1) = any ($3::int[])
