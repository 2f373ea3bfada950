-- Takes the lock under which the template database is made, so that of several
-- test binaries one makes it and the others find it.
--   $1  name of the template
-- Lock: a session-level advisory lock in the two-integer form, in the
-- maintenance database, until the connection ends. The first integer keeps it
-- apart from the locks of others.
select pg_advisory_lock(1920102757, hashtext($1))
