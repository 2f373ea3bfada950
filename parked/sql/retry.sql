-- Asks for all parked events of the aggregates that a filter touches to be handled again. Parameters 1 to 4 as in list.sql.
-- Index: the one on aggregates. Lock: the rows.
update parked_events e set retry_requested_at = clock_timestamp()
from (select distinct aggregate_type, aggregate_id from parked_events
      where projection_name = $1 and ($2::text is null or aggregate_type = $2) and ($3::text is null or aggregate_id = $3)
        and ($4::bigint is null or global_position = $4)) a
where e.projection_name = $1 and e.aggregate_type = a.aggregate_type and e.aggregate_id = a.aggregate_id
