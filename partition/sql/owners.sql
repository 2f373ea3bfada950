-- Returns the owner of each partition ('' if it has none) of each of some projections, and whether that instance counts as alive,
-- both in the order of partitions. $1: the projections. Index: the primary keys.
with members as materialized (select instance_id, alive from rouse.rouse_members)
select c.projection_name, array_agg(coalesce(c.owner::text, '') order by c.partition),
       array_agg(coalesce(m.alive, false) order by c.partition)
from rouse.projection_checkpoints c left join members m on m.instance_id = c.owner
where c.projection_name = any ($1::text[])
group by c.projection_name
