-- Takes note that a parked event has failed again, and stops asking for its aggregate.
-- $1: projection; $2, $3: aggregate; $4: position; $5: error. Index: the one on aggregates.
update parked_events
set retry_requested_at = null,
    attempts = attempts + (global_position = $4)::int,
    last_error = case when global_position = $4 then $5 else last_error end
where projection_name = $1 and aggregate_type = $2 and aggregate_id = $3
