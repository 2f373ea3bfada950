-- Makes the first events of all aggregates that a filter touches due, with fresh tries. Returns how many events the aggregates have.
-- Binaries before version 10 see it in retry_requested_at. Parameters 1 to 7 as in list.sql. Index: the one on aggregates. Lock: the rows,
-- in the order of the log.
with touched as materialized (
  select distinct aggregate_type, aggregate_id from parked_events
  where projection_name = $1 and ($2::text is null or aggregate_type = $2) and ($3::text is null or aggregate_id = $3)
    and ($4::bigint is null or global_position = $4) and ($5::text is null or event_type = $5)
    and ($6::text is null or position($6 in last_error) > 0) and ($7::timestamptz is null or parked_at >= $7)
), queues as materialized (
  select q.head, q.events
  from touched a, lateral (
    select min(p.global_position) as head, count(*) as events from parked_events p
    where p.projection_name = $1
      and hashtextextended(p.aggregate_id collate "C", 0) = hashtextextended(a.aggregate_id collate "C", 0)
      and p.aggregate_type = a.aggregate_type and p.aggregate_id = a.aggregate_id) q
), locked as materialized (
  select global_position from parked_events
  where projection_name = $1 and global_position in (select head from queues)
  order by global_position for no key update
), asked as (
  update parked_events set due_at = clock_timestamp(), retry_requested_at = clock_timestamp(), tries = 0, died = 0
  where projection_name = $1 and global_position in (select global_position from locked)
)
select coalesce(sum(events), 0)::bigint from queues
