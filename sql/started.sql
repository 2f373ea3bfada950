-- Takes a projection that was stopped up again. $1: projection.
update projections set state = 'running', error_position = null, last_error = null, error_at = null
where projection_name = $1 and state = 'stopped'
