-- Counts the events that a shadow has set aside and the live projection has not. $1: the live one; $2: the shadow. Index: the primary key.
select count(*) from rouse.parked_events s
where s.projection_name = $2
  and not exists (select from rouse.parked_events l where l.projection_name = $1 and l.global_position = s.global_position)
