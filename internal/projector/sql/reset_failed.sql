-- Notes that a reset was tried and not done, and when to try next, unless another one is asked for by now. $1: projection; $2: the
-- position that was asked for; $3: tries, this one included; $4: why; $5: milliseconds until the next; $6: take the request back.
-- Lock: the row. Index: the primary key.
update rouse.projections
set reset_tries = $3, reset_error = $4, reset_due_at = case when not $6::bool then clock_timestamp() + interval '1 millisecond' * $5::bigint end,
    reset_to = case when not $6::bool then reset_to end
where projection_name = $1 and reset_to = $2
