-- Where the projection stands in each partition, and the label of the worker that owns it, '' if there is none.
-- $1: projection. Index: projection_checkpoints_pkey.
select c.partition, c.last_global_position, coalesce(w.label, '')
from projection_checkpoints c left join projection_workers w on w.instance_id = c.owner
where c.projection_name = $1
