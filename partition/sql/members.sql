-- Returns the living members that run each of some projections, in the order in which they joined. $1: the projections.
-- Index: none, the table has a row per worker.
with living as materialized (
  select instance_id, assignment, max_partitions, leaving, avoids, states, started_at from rouse.rouse_members where alive
)
select n.name, m.instance_id::text, m.assignment = 'static', coalesce(m.max_partitions, 0), m.leaving, coalesce(m.avoids -> n.name, '[]')::text
from unnest($1::text[]) as n (name) join living m on m.states ? n.name
order by m.started_at, m.instance_id
