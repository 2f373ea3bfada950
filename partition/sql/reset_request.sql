-- Asks for a projection to start over. No row if there is no such projection.
-- $1: projection; $2: the position, or null for the last event; $3: force. Lock: the row. Index: the primary keys.
update projections set reset_to = coalesce($2, (select max(global_position) from events), 0), reset_force = $3, reset_error = null
where projection_name = $1 and coalesce($2, 0) <= coalesce((select max(global_position) from events), 0)
returning reset_to
