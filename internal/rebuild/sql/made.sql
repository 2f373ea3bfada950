-- Returns what there is in a schema: its tables, and everything else that does not belong to one of them, as people name it.
-- $1: the schema. Index: those of the catalogs.
select c.relname, c.relkind in ('r', 'p'), pg_describe_object('pg_class'::regclass, c.oid, 0)
from pg_class c
where c.relnamespace = (select oid from pg_namespace where nspname = $1) and c.relkind in ('r', 'p', 'v', 'm', 'f', 'c', 'S')
  and not (c.relkind = 'S' and exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid
                                       and d.refclassid = 'pg_class'::regclass and d.deptype in ('a', 'i')))
union all
select f.proname, false, pg_describe_object('pg_proc'::regclass, f.oid, 0) from pg_proc f where f.pronamespace = (select oid from pg_namespace where nspname = $1)
union all
select t.typname, false, pg_describe_object('pg_type'::regclass, t.oid, 0)
from pg_type t where t.typnamespace = (select oid from pg_namespace where nspname = $1) and t.typtype in ('e', 'd', 'r')
order by 1
