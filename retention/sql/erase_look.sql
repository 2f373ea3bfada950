-- Returns how many events of an aggregate there are, the position of the one with the highest version, 0 if there is none, up to which position events
-- of it may have been given out, and the projections that may have handled one.
-- $1, $2: the aggregate. Index: the unique one over streams, and the primary keys. Lock: none; rouse_retention is locked before.
with own as materialized (
  select global_position, aggregate_version from events where aggregate_type = $1 and aggregate_id = $2
)
select count(*), coalesce((array_agg(global_position order by aggregate_version desc))[1], 0),
       greatest(coalesce(max(global_position), 0), (select whole_from from rouse_retention)),
       coalesce((select array_agg(projection_name order by projection_name) from (
          select projection_name from projection_checkpoints group by projection_name
          having max(last_global_position) >= coalesce((select min(global_position) from own), 0)) handled), '{}')
from own
