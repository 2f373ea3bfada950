-- Returns the state of every partition: its checkpoint, its owner, how many positions the last visible event is ahead
-- of it, and the age of the first event behind it, in seconds (0 if there is none); and whether none of the events behind it is its own.
-- That is looked for among the last 10,000 positions only, which is more than a worker leaves the checkpoint of a partition without events
-- behind. Index: the primary key of events, one probe for the head and one per distinct checkpoint, and a walk over the last
-- positions, from the lowest checkpoint among them on.
with head as materialized (
  select coalesce(max(global_position), 0) as position from events
), oldest as materialized (
  select c.last_global_position, (
    select extract(epoch from clock_timestamp() - e.created_at)::float8
    from events e where e.global_position > c.last_global_position
    order by e.global_position limit 1) as age
  from (select distinct last_global_position from projection_checkpoints) c
), near as materialized (
  select min(c.last_global_position) as position
  from projection_checkpoints c, head
  where c.last_global_position >= head.position - 10000
), last as materialized (
  select slot::int as slot, max(global_position) as position
  from (select slot, global_position from events where global_position > (select position from near)
        order by global_position desc limit 10000) e -- in this order, so that the table is not read whole
  group by slot
), waits as materialized (
  select distinct c.projection_name, c.partition
  from last
  cross join projections p
  join projection_checkpoints c on c.projection_name = p.projection_name and c.partition = last.slot & (p.partitions - 1)
  where c.last_global_position < last.position
)
select c.projection_name, c.partition, c.last_global_position, c.epoch, c.owner::text,
       greatest(head.position - c.last_global_position, 0), greatest(coalesce(o.age, 0), 0),
       c.last_global_position >= head.position - 10000
         and not exists (select from waits w where w.projection_name = c.projection_name and w.partition = c.partition)
from projection_checkpoints c join oldest o using (last_global_position), head
order by c.projection_name, c.partition
