-- Parked events, in the order of the log. $1: projection; $2, $3: aggregate type and id; $4: position; $5: event type; $6: a part of
-- the last error; $7: set aside then or later; each of them null: any. $8: at most so many, or null. Index: the primary key.
select e.projection_name, e.global_position, e.event_id::text, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.event_type,
       e.attempts, e.tries, e.last_error, e.parked_at, e.due_at, e.died > 0,
       not exists (select from parked_events b
                   where b.projection_name = e.projection_name
                     and hashtextextended(b.aggregate_id collate "C", 0) = hashtextextended(e.aggregate_id collate "C", 0)
                     and b.global_position < e.global_position and b.aggregate_type = e.aggregate_type and b.aggregate_id = e.aggregate_id),
       exists (select from events l where l.global_position = e.global_position and l.event_id = e.event_id), 0::bigint
from parked_events e
where ($1::text is null or projection_name = $1) and ($2::text is null or aggregate_type = $2) and ($3::text is null or aggregate_id = $3)
    and ($4::bigint is null or global_position = $4) and ($5::text is null or event_type = $5)
    and ($6::text is null or position($6 in last_error) > 0) and ($7::timestamptz is null or parked_at >= $7)
order by projection_name, global_position limit $8
