-- Writes down which tables the read model of a live projection has. $1: projection; $2: its version; $3: the tables; $4: their schema;
-- $5: whether that is better than what is written down.
-- Lock: the row, where something changes. Index: the primary key.
update rouse.projections set tables = $3::text[], tables_schema = $4::text
where projection_name = $1 and version = $2::int and (tables, tables_schema) is distinct from ($3::text[], $4::text)
  and ($5 or tables is null)
