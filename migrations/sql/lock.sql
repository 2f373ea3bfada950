-- Takes the migration lock of the current schema to the end of the transaction.
-- $1: first key (a constant); $2: how long to wait, in milliseconds.
-- The timeout is set in the select list of a subquery that the lock depends on, so it is in force before the wait begins.
select pg_advisory_xact_lock($1::int, hashtext(coalesce(current_schema(), '')))
from (select set_config('lock_timeout', $2::bigint || 'ms', true) offset 0) as t
