-- Returns the prepared transactions of a database. $1: its name. Reads a catalog alone.
select gid from pg_prepared_xacts where database = $1::text
