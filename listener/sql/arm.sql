-- Takes S, shared, for the session ('rouS', $1: the oid of events as an int), unless another session holds it alone or waits
-- to. Probing appends hold it for microseconds.
select pg_try_advisory_lock_shared(1919907155, $1::int)
