-- Locks the partition of an event: a save of its owner that is in flight is waited for, so that what is read afterwards is where
-- the projection has come to. First the projection, as for a resize. $1: projection; $2: position.
-- Lock: the projection's row, shared, and the checkpoint's. Index: the primary keys.
with p as materialized (
  select partitions from projections where projection_name = $1 for share
)
select c.partition from projection_checkpoints c
where c.projection_name = $1 and c.partition = (select e.slot::int & (p.partitions - 1) from events e, p where e.global_position = $2)
for no key update of c
