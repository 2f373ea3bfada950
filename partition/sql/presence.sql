-- Takes the presence lock of this process: a session-level lock under a key of its own ('rouP', $1), shared, because
-- the listening session holds it too. The process counts as gone only when both have lost it.
select pg_try_advisory_lock_shared(1919907152, $1::int)
