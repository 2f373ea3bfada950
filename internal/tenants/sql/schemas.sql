-- Returns the schemas of the database that match one of some patterns, by name. Those of the system are left out.
-- $1: patterns of LIKE. Lock: none. Index: none, the catalog has a row per schema.
select nspname
from pg_catalog.pg_namespace
where nspname like any ($1::text[]) and nspname !~ '^pg_' and nspname <> 'information_schema'
order by nspname
