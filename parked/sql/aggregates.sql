-- The first parked event of each aggregate that a filter touches, with the number of its events, in the order of the log. Parameters and
-- columns as in list.sql. Index: the one on aggregates.
with touched as materialized (
  select distinct projection_name, aggregate_type, aggregate_id from parked_events
  where ($1::text is null or projection_name = $1) and ($2::text is null or aggregate_type = $2) and ($3::text is null or aggregate_id = $3)
    and ($4::bigint is null or global_position = $4) and ($5::text is null or event_type = $5)
    and ($6::text is null or position($6 in last_error) > 0) and ($7::timestamptz is null or parked_at >= $7)
)
select e.projection_name, e.global_position, e.event_id::text, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.event_type,
       e.attempts, e.tries, e.last_error, e.parked_at, e.due_at, e.died > 0, true,
       exists (select from events l where l.global_position = e.global_position and l.event_id = e.event_id), q.events
from touched a cross join lateral (
  select min(p.global_position) as head, count(*) as events from parked_events p
  where p.projection_name = a.projection_name
    and hashtextextended(p.aggregate_id collate "C", 0) = hashtextextended(a.aggregate_id collate "C", 0)
    and p.aggregate_type = a.aggregate_type and p.aggregate_id = a.aggregate_id) q
join parked_events e on e.global_position = q.head and e.projection_name = a.projection_name
order by e.projection_name, e.global_position limit $8
