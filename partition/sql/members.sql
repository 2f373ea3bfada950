-- Returns the living members that run each of some projections, in the order in which they joined. One that has stopped it is one as long
-- as it owns a partition, which nobody else is to take; else it has stopped another one of this name, which was dropped.
-- $1: the projections. Index: none, the table has a row per worker; for one that has stopped it, the primary key of the checkpoints.
with living as materialized (
  select instance_id, assignment, max_partitions, leaving, avoids, states, started_at from rouse.rouse_members where alive
)
select n.name, m.instance_id::text, m.assignment = 'static', coalesce(m.max_partitions, 0), m.leaving, coalesce(m.avoids -> n.name, '[]')::text
from unnest($1::text[]) as n (name) join living m on m.states ? n.name
  and (m.states ->> n.name <> 'stopped'
       or exists (select from rouse.projection_checkpoints c where c.projection_name = n.name and c.owner = m.instance_id))
order by m.started_at, m.instance_id
