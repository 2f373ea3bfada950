-- Sets how long a statement of the listening session waits for a lock. $1: milliseconds.
select set_config('lock_timeout', $1, false)
