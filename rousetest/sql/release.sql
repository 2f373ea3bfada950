-- Holds nothing any more. No parameters. Small tables, read whole. It comes after unhold.sql, so the trigger leaves the times as they are.
update parked_events set due_at = due_at - interval '100 years' where due_at > clock_timestamp() + interval '50 years'
