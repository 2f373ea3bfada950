-- Shows that a process lives, by a lock of its session, which may be idle for as long as a test takes. $1: its token. Lock: an advisory
-- one, whose key is of the token; whoever looks for the dead sees the locks of all databases.
select set_config('idle_session_timeout', '0', false), pg_advisory_lock(1919907156, hashtext('rousetest_' || $1::text))
