-- Returns, for each projection with events that were set aside, those of aggregates that wait for people, those of aggregates that are tried
-- again by themselves, and those of aggregates whose first event waits for the time that its handler has named (deferred), each in a row: which
-- of the three, the number of events, of aggregates, how long ago the first was set aside or failed first, in seconds, how long it is until
-- one of them is due, null where none is, and of the aggregate that waits longest, or that is due first if it is deferred: the position of
-- its first event and the beginning of the last error of that.
-- Index: none, it reads the whole table, which is small unless something is wrong or many deadlines wait.
with queues as (
  select projection_name, count(*) as events, min(global_position) as head,
         bool_or(due_at is not null or retry_requested_at is not null) as has_time
  from parked_events
  group by projection_name, aggregate_type, aggregate_id
), stands as (
  select q.projection_name, q.events, q.head, p.parked_at, p.due_at,
         case when not q.has_time then 'parked' when p.due_at is not null and p.last_error = '' and p.died = 0 then 'deferred' else 'retrying' end as stand
  from queues q join parked_events p on p.projection_name = q.projection_name and p.global_position = q.head
), sums as (
  select projection_name, stand, sum(events)::bigint as events, count(*) as aggregates, min(parked_at) as since, min(due_at) as due,
         (array_agg(head order by case when stand = 'deferred' then due_at else parked_at end, head))[1] as head
  from stands
  group by projection_name, stand
)
select s.projection_name, s.stand, s.events, s.aggregates, extract(epoch from clock_timestamp() - s.since)::float8,
       extract(epoch from s.due - clock_timestamp())::float8, s.head, left(p.last_error, 2000)
from sums s join parked_events p on p.projection_name = s.projection_name and p.global_position = s.head
