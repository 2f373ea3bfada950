-- Returns the databases of a process. $1: its token. Reads a catalog alone.
select datname::text from pg_database where starts_with(datname::text, 'rousetest_' || $1::text || '_') order by datname
