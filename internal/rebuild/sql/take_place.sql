-- Makes the version of a shadow the live one, with its tables. What was said of the one that it replaces is said no longer.
-- $1: the live one; $2: the version; $3: the tables. Lock: the row. Index: the primary key.
update rouse.projections
set version = $2::int, tables = $3::text[], replaced_at = clock_timestamp(), barrier = null, barrier_holder = null, barrier_until = null,
    state = case state when 'paused' then state else 'running' end, stopped_at = null, last_error = null, error_position = null, error_at = null,
    reset_to = null, reset_error = null, reset_tries = 0, reset_due_at = null
where projection_name = $1
