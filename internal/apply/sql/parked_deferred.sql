-- Writes down that the handler wants the first row of a queue later, and takes the tries back: nothing has failed.
-- $1: projection; $2: positions of the rows at which a try was written down, the first of the queue first; $3: seconds until that is
-- tried again. Index: the primary key.
update rouse.parked_events
set tries = greatest(tries - 1, 0), attempts = greatest(attempts - 1, 0), died = 0,
    last_error = case when global_position = ($2::bigint[])[1] then '' else last_error end,
    due_at = case when global_position = ($2::bigint[])[1] then clock_timestamp() + make_interval(secs => $3::float8) end
where projection_name = $1 and global_position = any ($2::bigint[])
