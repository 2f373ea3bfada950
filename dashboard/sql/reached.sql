-- The checkpoints that stand at an event of their own partition and were saved within the last seconds, with the time in seconds
-- from that event's insert to the save. A claim also sets updated_at; it raises the epoch, and the caller leaves those out.
-- $1: how many seconds. Index: the primary keys, one probe of events for each checkpoint that was saved.
select c.projection_name, c.partition, c.last_global_position, c.epoch,
       greatest(extract(epoch from c.updated_at - e.created_at)::float8, 0)
from projection_checkpoints c
join projections p on p.projection_name = c.projection_name
join events e on e.global_position = c.last_global_position and e.slot::int & (p.partitions - 1) = c.partition
where c.updated_at > clock_timestamp() - interval '1 second' * $1::float8
