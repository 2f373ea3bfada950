-- Writes down that a projection was stopped, by which event (null: by none) and why. $1: projection; $2: position; $3: error.
update projections set state = 'stopped', error_position = $2, last_error = $3, error_at = clock_timestamp()
where projection_name = $1
