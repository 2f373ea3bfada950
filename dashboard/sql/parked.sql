-- The first event of each aggregate with events that were set aside: those that wait for people first, then those that are tried again, then
-- those that wait for the time that their handler has named, in the order of that; and otherwise in the order of the log.
-- $1: how many. Returns projection, position, aggregate type and id, version, type, attempts, error, the age in seconds, the seconds until
-- it is tried next (null: it waits for people), whether it has not failed and waits for that time, and the number of the aggregate's
-- events. Texts are cut, as in newest.sql.
-- Index: the primary key for the first ones; the grouping reads the whole table, which is small unless something is wrong or many
-- deadlines wait.
with queues as (
  select projection_name, min(global_position) as head, count(*) as events, min(retry_requested_at) as asked_at
  from parked_events
  group by projection_name, aggregate_type, aggregate_id
)
select p.projection_name, p.global_position, left(p.aggregate_type, 300), left(p.aggregate_id, 300), p.aggregate_version,
       left(p.event_type, 300), p.attempts, left(p.last_error, 2000),
       greatest(extract(epoch from clock_timestamp() - p.parked_at)::float8, 0),
       case when coalesce(p.due_at, q.asked_at) is not null
            then greatest(extract(epoch from coalesce(p.due_at, q.asked_at) - clock_timestamp())::float8, 0) end,
       d.deferred, q.events
from queues q join parked_events p on p.projection_name = q.projection_name and p.global_position = q.head,
     lateral (select p.due_at is not null and p.last_error = '' and p.died = 0 as deferred) d
order by coalesce(p.due_at, q.asked_at) is not null, d.deferred, case when d.deferred then p.due_at end, p.projection_name, p.global_position limit $1
