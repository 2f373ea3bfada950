-- Returns the grant that the current role lacks to see which migrations of programs were applied, in the schema of Rouse's tables; no row:
-- it lacks none, or there is no such table.
-- Lock: none. Index: those of the catalogs.
select format('grant select on %I.%I to %I', n.nspname, c.relname, current_user)
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
where c.relname = 'rouse_program_migrations' and c.relnamespace = (select relnamespace from pg_class where oid = to_regclass('rouse_migrations'))
  and not has_table_privilege(c.oid, 'select')
