-- Asks for a projection to start over. The error goes when that is done, by whatever binary. No row if there is no such projection.
-- $1: projection; $2: the position; $3: force; $4: why it is not done yet. Lock: the row. Index: the primary keys.
update projections set reset_to = $2::bigint, reset_force = $3, reset_error = $4, reset_tries = 0, reset_due_at = null
where projection_name = $1 and $2::bigint <= coalesce((select max(global_position) from events), 0)
returning reset_to
