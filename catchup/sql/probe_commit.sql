-- The id of a transaction of its own, which begins before this statement and commits after it.
select pg_current_xact_id()::text
