-- How a projection stands for a change to $2 partitions: how many it has, whether it is stopped, how many living members run
-- it, whether all checkpoints that would be joined are equal, whether all checkpoints are, the highest of them, and the
-- highest epoch. No row: there is no such projection. $1: projection. Index: the primary keys.
with joined as materialized (
  select c.partition & ($2::int - 1), min(c.last_global_position) as low, max(c.last_global_position) as high, max(c.epoch) as epoch
  from projection_checkpoints c where c.projection_name = $1 group by 1
)
select p.partitions, p.state = 'stopped' or p.state = 'paused' and p.stopped_at is not null,
       (select count(*) from rouse_members where alive and states ? $1),
       (select coalesce(bool_and(low = high), true) from joined),
       (select coalesce(min(low) = max(high), true) from joined),
       (select coalesce(max(high), 0) from joined),
       (select coalesce(max(epoch), 0) from joined)
from projections p where p.projection_name = $1
