-- Returns whether the table of the token is unlogged, and whether this is Amazon Aurora.
-- Lock: none but on catalogs.
select c.relpersistence = 'u', to_regproc('aurora_version') is not null
from pg_class c where c.oid = 'rouse_incarnation'::regclass
