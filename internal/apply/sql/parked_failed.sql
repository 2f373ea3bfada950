-- Writes down that the first row of a queue has failed. $1: projection; $2: position; $3: error; $4: seconds until it is tried again,
-- null: not by itself. One that has not failed before, because it was wanted later or has waited behind another, fails from now on.
-- Index: the primary key.
update rouse.parked_events
set parked_at = case when last_error = '' then clock_timestamp() else parked_at end, died = 0, last_error = $3,
    due_at = clock_timestamp() + make_interval(secs => $4::float8)
where projection_name = $1 and global_position = $2
