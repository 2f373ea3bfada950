-- Returns the events of a range as a record has them. $1: the first position; $2: the last. Index: the primary key. Lock: none.
select e.global_position, e.event_id::text, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.event_type, e.event_version,
       to_char(e.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), e.payload::text, e.metadata::text
from events e where e.global_position between $1 and $2 order by e.global_position
