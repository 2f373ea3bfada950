-- Returns the schema of Rouse's tables as search_path finds them, which need not be its first one.
-- Lock: none. Index: those of the catalogs.
select n.nspname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = 'rouse_migrations'::regclass
