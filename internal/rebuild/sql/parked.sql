-- Counts the events that a shadow has set aside and the live projection has not; and those that wait in the live one for the time that its
-- handler has named, and that the shadow has handled, as a replay: also those of which a try is under way, or has ended with its process.
-- $1: the live one; $2: the shadow. Index: the primary key.
select (select count(*) from rouse.parked_events s
        where s.projection_name = $2
          and not exists (select from rouse.parked_events l where l.projection_name = $1 and l.global_position = s.global_position)),
       (select count(*) from rouse.parked_events l
        where l.projection_name = $1 and l.due_at is not null and l.last_error = ''
          and not exists (select from rouse.parked_events s where s.projection_name = $2 and s.global_position = l.global_position))
