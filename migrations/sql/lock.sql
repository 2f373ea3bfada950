-- Takes the migration lock of the current schema to the end of the transaction. It waits as long as lock_timeout says.
-- $1: first key (a constant).
select pg_advisory_xact_lock($1::int, hashtext(coalesce(current_schema(), '')))
