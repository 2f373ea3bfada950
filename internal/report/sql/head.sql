-- Returns the last visible position, 0 if there is no event. Index: the primary key, backwards.
select coalesce(max(global_position), 0) from events
