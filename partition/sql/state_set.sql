-- Pauses a projection or lets it go on, and forgets why it was stopped. No row if there is no such projection.
-- $1: projection; $2: state. Lock: the row.
update projections set state = $2, error_position = null, last_error = null, error_at = null where projection_name = $1 returning 1
