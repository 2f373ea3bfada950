-- Returns those of some projections that have events which were tried and not finished, or are set aside. $1: the projections.
-- Index: the primary keys.
select n.name from unnest($1::text[]) as n (name)
where exists (select from rouse.event_attempts a where a.projection_name = n.name)
   or exists (select from rouse.parked_events p where p.projection_name = n.name)
