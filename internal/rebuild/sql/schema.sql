-- Looks for a schema: whether it is there, whether anything is in it, and whether the role may drop it. $1: its name. Index: those of the catalogs.
select count(*) > 0,
       coalesce(bool_or(exists (select from pg_class c where c.relnamespace = n.oid)
                     or exists (select from pg_proc f where f.pronamespace = n.oid)
                     or exists (select from pg_type t where t.typnamespace = n.oid)), false),
       coalesce(bool_or(pg_has_role(n.nspowner, 'usage')), false)
from pg_namespace n where n.nspname = $1
