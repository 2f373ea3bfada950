-- Returns the name of the role that workers have, and whether it is a superuser. Index: those of the catalogs.
select rolname::text, rolsuper from pg_roles where rolname = current_user
