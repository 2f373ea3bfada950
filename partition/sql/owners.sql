-- Who owns each partition of a projection ('' for nobody), and whether that instance counts as alive.
-- $1: projection. Index: the primary keys.
select c.partition, coalesce(c.owner::text, ''), coalesce(m.alive, false)
from projection_checkpoints c left join rouse_members m on m.instance_id = c.owner
where c.projection_name = $1
order by c.partition
