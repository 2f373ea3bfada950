-- Takes over what a binary before version 10 has asked for in some partitions: the first row of each such aggregate becomes due, with
-- fresh tries. $1: projection; $2: its number of partitions; $3: the partitions. Index: parked_events_retry, and the one on
-- aggregates.
with asked as (
  select global_position, aggregate_type, aggregate_id from rouse.parked_events
  where projection_name = $1 and retry_requested_at is not null and slot::int & ($2::int - 1) = any ($3::int[])
), first as (
  select (select p.global_position from rouse.parked_events p
          where p.projection_name = $1 and hashtextextended(p.aggregate_id collate "C", 0) = hashtextextended(a.aggregate_id collate "C", 0)
            and p.aggregate_type = a.aggregate_type and p.aggregate_id = a.aggregate_id
          order by p.global_position limit 1) as head
  from (select distinct aggregate_type, aggregate_id from asked) a
)
update rouse.parked_events e
set retry_requested_at = null,
    due_at = case when w.first then clock_timestamp() else e.due_at end,
    tries = case when w.first then 0 else e.tries end, died = case when w.first then 0 else e.died end
from (select global_position, bool_or(first) as first
      from (select global_position, false as first from asked union all select head, true from first) marked
      group by global_position) w
where e.projection_name = $1 and e.global_position = w.global_position
