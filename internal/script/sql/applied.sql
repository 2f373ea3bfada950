-- Returns the name and the checksum of each migration that a program has applied beside Rouse's own, in the schema of Rouse's tables: a table
-- of that name further on in search_path is that of another schema.
-- Lock: none. Index: none, the table has a row per migration.
select p.name, p.checksum
from rouse.rouse_program_migrations p
where (select relnamespace from pg_class where oid = p.tableoid) =
  (select relnamespace from pg_class where oid = (select m.tableoid from rouse.rouse_migrations m limit 1))
