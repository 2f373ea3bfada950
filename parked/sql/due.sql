-- Parked events that somebody wants handled again, in some partitions: whole aggregates from their first parked event on, as
-- far as the limit reaches, one aggregate after the other.
-- $1: projection; $2: how many partitions there are; $3: which; $4: at most so many.
-- Index: parked_events_retry, the one on aggregates, and the primary key of events.
select e.global_position, e.event_id, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.event_type, e.event_version,
       e.payload, e.metadata, e.slot, e.created_at
from (
  select p.global_position from parked_events p
  where p.projection_name = $1 and exists (
    select from parked_events w
    where w.projection_name = $1 and w.retry_requested_at is not null and w.slot::int & ($2::int - 1) = any ($3::int[])
      and w.aggregate_type = p.aggregate_type and w.aggregate_id = p.aggregate_id)
  order by p.aggregate_type, p.aggregate_id, p.global_position
  limit $4) d join events e using (global_position)
order by e.aggregate_type, e.aggregate_id, e.global_position
