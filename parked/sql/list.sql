-- Parked events, in the order of the log. $1: projection; $2, $3: aggregate type and id, or null; $4: position, or null;
-- $5: at most so many, or null. Index: the primary key, or the one on aggregates.
select projection_name, global_position, event_id::text, aggregate_type, aggregate_id, aggregate_version, event_type, attempts,
       last_error, parked_at, retry_requested_at is not null
from parked_events
where ($1::text is null or projection_name = $1) and ($2::text is null or aggregate_type = $2) and ($3::text is null or aggregate_id = $3)
  and ($4::bigint is null or global_position = $4)
order by projection_name, global_position limit $5
