-- Returns the labels of the living workers that run a projection, without those that have stopped it. $1: projection.
-- Index: none, the tables have a row per worker.
select coalesce(nullif(w.label, ''), w.instance_id::text)
from rouse_members m join projection_workers w using (instance_id)
where m.alive and m.states ? $1 and m.states ->> $1 <> 'stopped'
order by 1
