-- Ends the session that it is sent on.
select pg_terminate_backend(pg_backend_pid())
