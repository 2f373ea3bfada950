-- Refuses to start over. $1: projection; $2: why.
update projections set reset_to = null, reset_error = $2 where projection_name = $1
