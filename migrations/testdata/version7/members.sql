-- The living members that run a projection, in the order in which they joined. $1: projection.
-- Index: none, the table has a row per worker.
select instance_id::text, assignment = 'static', coalesce(max_partitions, 0), leaving, coalesce(avoids -> $1, '[]')::text
from rouse_members
where alive and states ? $1
order by started_at, instance_id
