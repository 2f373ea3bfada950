-- Returns the names that projections had until they were dropped or renamed, what they are called now, '' if they were dropped, how long ago
-- that was, in seconds, and when, and the labels of the living workers that have such a name in their program all the same.
-- Index: none, there is a row for each name that was ever given up, and one for each worker.
with living as materialized (
  select w.label, m.states from rouse_members m join projection_workers w using (instance_id) where m.alive
)
select r.projection_name, coalesce(r.renamed_to, ''), extract(epoch from clock_timestamp() - r.retired_at)::float8, r.retired_at,
       array(select left(l.label, 300) from living l where l.states ? r.projection_name order by 1)
from retired_projections r
order by r.projection_name
