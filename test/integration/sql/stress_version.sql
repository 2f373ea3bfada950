-- The version of an aggregate, 0 if it has no events. $1, $2: aggregate.
select coalesce(max(aggregate_version), 0) from events where aggregate_type = $1 and aggregate_id = $2
