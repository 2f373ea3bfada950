-- Takes up a projection that was stopped, unless it is to be paused. $1: projection. Lock: the row. Index: the primary key.
update rouse.projections set state = 'running', stopped_at = null, error_position = null, last_error = null, error_at = null
where projection_name = $1 and (state = 'stopped' or state = 'running' and stopped_at is not null)
