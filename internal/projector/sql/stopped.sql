-- Notes that a projection was stopped, by which event (null: by none) and why. One that is to be paused stays so.
-- $1: projection; $2: position; $3: error. Lock: the row. Index: the primary key.
update rouse.projections
set state = case state when 'paused' then state else 'stopped' end, stopped_at = clock_timestamp(),
    error_position = $2, last_error = $3, error_at = clock_timestamp()
where projection_name = $1
