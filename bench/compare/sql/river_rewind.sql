-- Makes all jobs new again. No worker runs. Index: none, it is all of them.
update river_job set state = 'available', attempt = 0, attempted_at = null, attempted_by = null, finalized_at = null, scheduled_at = now()
