-- Which partitions keep others waiting: those behind the one of their group that is furthest, with the label of their living
-- owner, '' if there is none. $1: projection; $2: partitions wanted. Index: the primary keys.
with groups as materialized (
  select c.partition & ($2::int - 1) as rest, max(c.last_global_position) as high
  from projection_checkpoints c where c.projection_name = $1 group by 1
)
select c.partition, c.last_global_position, g.high, coalesce(w.label, '')
from projection_checkpoints c
join groups g on g.rest = c.partition & ($2::int - 1)
left join rouse_members m on m.instance_id = c.owner and m.alive
left join projection_workers w on w.instance_id = m.instance_id
where c.projection_name = $1 and c.last_global_position < g.high
order by 4, 1
