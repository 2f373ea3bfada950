-- Returns the version of the schema, and the oldest binary that works on it: one row, 0 and 0 where nothing was
-- applied.
-- Lock: none. Index: none, the table has a row per migration.
select coalesce(max(version), 0), coalesce(max(oldest_binary), 0) from rouse.rouse_migrations
