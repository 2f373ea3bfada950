-- Locks the checkpoint rows of the partitions that the parked events of a filter are in, as the save of their owner does.
-- Parameters 1 to 7 as in list.sql. Lock: the rows, in the order of partitions.
select c.partition
from projection_checkpoints c join projections p using (projection_name)
where c.projection_name = $1 and c.partition in (
  select slot::int & (p.partitions - 1) from parked_events
  where projection_name = $1 and ($2::text is null or aggregate_type = $2) and ($3::text is null or aggregate_id = $3)
    and ($4::bigint is null or global_position = $4) and ($5::text is null or event_type = $5)
    and ($6::text is null or position($6 in last_error) > 0) and ($7::timestamptz is null or parked_at >= $7))
order by c.partition for no key update of c
