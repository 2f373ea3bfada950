-- Where every partition stands: its checkpoint, its owner, how many positions the last visible event is ahead of it, and how
-- old the first event behind it is, in seconds (0 if there is none).
-- Index: the primary key of events, one probe for the head and one per distinct checkpoint.
with head as materialized (
  select coalesce(max(global_position), 0) as position from events
), oldest as materialized (
  select c.last_global_position, (
    select extract(epoch from clock_timestamp() - e.created_at)::float8
    from events e where e.global_position > c.last_global_position
    order by e.global_position limit 1) as age
  from (select distinct last_global_position from projection_checkpoints) c
)
select c.projection_name, c.partition, c.last_global_position, c.epoch, c.owner::text,
       greatest(head.position - c.last_global_position, 0), greatest(coalesce(o.age, 0), 0)
from projection_checkpoints c join oldest o using (last_global_position), head
order by c.projection_name, c.partition
