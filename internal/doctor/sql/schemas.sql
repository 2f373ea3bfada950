-- Returns the schemas other than the current one that hold Rouse's tables, the role, and whether it may use them.
-- Lock: none but on catalogs.
select n.nspname::text, current_user::text, has_schema_privilege(n.oid, 'usage')
from pg_namespace n
where n.nspname is distinct from current_schema()
  and exists (select from pg_class c where c.relnamespace = n.oid and c.relname = 'rouse_migrations')
order by 1
