-- Releases S. $1: as in arm.sql.
select pg_advisory_unlock_shared(1919907155, $1::int)
