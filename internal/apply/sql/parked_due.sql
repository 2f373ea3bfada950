-- Returns the queues of some partitions that are due, and how long it is until then, in seconds: the earliest first, and those that are
-- due later too, as far as the limit reaches. Each row says whether a binary before version 10 has asked for a retry too; where no queue
-- is due there is one with nothing else. $1: projection; $2: its number of partitions; $3: the partitions; $4: the maximum number of
-- queues. Index: parked_events_due and parked_events_retry.
select q.aggregate_type, q.aggregate_id, q.wait, r.asked
from (
  select exists (select from rouse.parked_events
                 where projection_name = $1 and retry_requested_at is not null and slot::int & ($2::int - 1) = any ($3::int[])) as asked) r
left join lateral (
  select aggregate_type, aggregate_id, extract(epoch from due_at - clock_timestamp())::float8 as wait, due_at
  from rouse.parked_events
  where projection_name = $1 and due_at is not null and slot::int & ($2::int - 1) = any ($3::int[])
  order by due_at limit $4) q on true
order by q.due_at
