-- Lets time pass for what was set aside, and for resets that failed. $1: seconds. Small tables, read whole.
with parked as (update parked_events set due_at = due_at - make_interval(secs => $1::float8) where due_at is not null)
update projections set reset_due_at = reset_due_at - make_interval(secs => $1::float8) where reset_due_at is not null
