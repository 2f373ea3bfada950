-- Returns the position of the last event, 0 if there is none. Lock: none. Index: the primary key, backwards for one row.
select coalesce(max(global_position), 0) from rouse.events
