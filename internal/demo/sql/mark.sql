-- The moment, by the server's clock, and the last visible position, 0 if there is no event. Index: the primary key, backwards.
select clock_timestamp(), coalesce(max(global_position), 0) from events
