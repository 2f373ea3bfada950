-- The presence of this process: a session-level lock under a key of its own ('rouP', $1). True if nobody else has it.
select pg_try_advisory_lock(1919907152, $1::int)
