-- Returns the first rows of the queue of an aggregate, with their events, as far as a count and a size reach, and one at least. A
-- row whose event is no longer in the log, or is another one by now, comes with the version 0 of its event, and counts for nothing.
-- $1: projection; $2, $3: aggregate; $4: the maximum number of rows; $5: the maximum size of payloads and metadata, in bytes.
-- Index: the one on aggregates, and the primary key of events.
select global_position, event_id, aggregate_type, aggregate_id, aggregate_version, event_type, event_version, payload, metadata, slot,
       created_at, tries, attempts, died, last_error
from (
  select p.global_position, p.event_id, p.aggregate_type, p.aggregate_id, p.aggregate_version, p.event_type,
         coalesce(e.event_version, 0) as event_version, coalesce(e.payload, 'null') as payload, coalesce(e.metadata, '{}') as metadata,
         p.slot, coalesce(e.created_at, p.parked_at) as created_at, p.tries, p.attempts, p.died, p.last_error,
         row_number() over before as number,
         sum(coalesce(octet_length(e.payload::text) + octet_length(e.metadata::text), 0)) over before as size
  from (
    select * from rouse.parked_events
    where projection_name = $1 and hashtextextended(aggregate_id collate "C", 0) = hashtextextended($3::text collate "C", 0)
      and aggregate_type = $2 and aggregate_id = $3
    order by global_position limit $4) p
  left join rouse.events e on e.global_position = p.global_position and e.event_id = p.event_id
  window before as (order by p.global_position)
) queue
where number = 1 or size <= $5
order by global_position
