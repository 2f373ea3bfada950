-- Who has each partition of the demo at this moment: the label of its owner, '' if no living worker owns it.
-- $1: projection. Returns: partition, label, and the moment, by the server's clock, in the order of partitions.
-- Index: the primary keys; the view reads the lock table once.
select c.partition, coalesce(w.label, ''), clock_timestamp()
from projection_checkpoints c
left join rouse_members m on m.instance_id = c.owner and m.alive
left join projection_workers w on w.instance_id = m.instance_id
where c.projection_name = $1
order by c.partition
