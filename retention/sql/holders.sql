-- Returns up to which position each projection has no need of events any more, and why no further, the lowest first: its lowest checkpoint,
-- what lies before its first parked event, or the position behind which an operator wants it to start over. Then up to where the last event
-- of the log allows it, under no name.
-- $1: projections that do not count. Index: the primary keys; parked_events and the checkpoints are read whole, which are small.
-- Lock: none; in the transaction that removes, rouse_retention is locked before, so that none of these can go back.
select held.projection_name, coalesce(p.state, ''), held.why, held.position
from (
  select projection_name, 'checkpoint' as why, min(last_global_position) as position
  from projection_checkpoints where projection_name <> all ($1::text[]) group by projection_name
  union all
  select projection_name, 'parked', min(global_position) - 1
  from parked_events where projection_name <> all ($1::text[]) group by projection_name
  union all
  select projection_name, 'reset', reset_to from projections where reset_to is not null and projection_name <> all ($1::text[])
  union all
  select '', 'last', coalesce(max(global_position) - 1, 0) from events
) held left join projections p using (projection_name)
order by held.position, held.projection_name, held.why
