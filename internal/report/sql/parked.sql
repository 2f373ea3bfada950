-- Returns, for each projection with events that were set aside, those of aggregates that wait for people and those of aggregates that
-- are tried again by themselves, each in a row: whether they are tried again, the number of events, of aggregates, how long ago the
-- first was set aside, in seconds, and of the aggregate whose first event was: the position of that and the beginning of its last error.
-- Index: none, it reads the whole table, which is small unless something is wrong.
with queues as (
  select projection_name, count(*) as events, min(global_position) as head, min(parked_at) as since,
         bool_or(due_at is not null or retry_requested_at is not null) as retrying
  from parked_events
  group by projection_name, aggregate_type, aggregate_id
), sums as (
  select projection_name, retrying, sum(events)::bigint as events, count(*) as aggregates, min(since) as since,
         (array_agg(head order by since, head))[1] as head
  from queues
  group by projection_name, retrying
)
select s.projection_name, s.retrying, s.events, s.aggregates, extract(epoch from clock_timestamp() - s.since)::float8, s.head, left(p.last_error, 2000)
from sums s join parked_events p on p.projection_name = s.projection_name and p.global_position = s.head
