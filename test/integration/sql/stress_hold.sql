-- Takes hold of an aggregate to the end of the transaction, without waiting. The two-integer form of the lock, because the
-- other one is the append trigger's. $1: first key; $2: number of the aggregate.
select pg_try_advisory_xact_lock($1::int, $2::int)
