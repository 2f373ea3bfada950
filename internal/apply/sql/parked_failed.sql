-- Writes down that the first row of a queue has failed. $1: projection; $2: position; $3: error; $4: seconds until it is tried again,
-- null: not by itself. Index: the primary key.
update rouse.parked_events
set died = 0, last_error = $3, due_at = clock_timestamp() + make_interval(secs => $4::float8)
where projection_name = $1 and global_position = $2
