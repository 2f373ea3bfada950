-- Stops the clock of a test, where it stands if it stands already, and holds what is not due by it. What people have asked for is due.
-- No parameters. Small tables, read whole.
with stopped as (update rousetest.clock set held = true, stands_at = coalesce(stands_at, clock_timestamp()) returning stands_at)
update parked_events set due_at = due_at + interval '100 years'
from stopped where due_at > stands_at and retry_requested_at is null
