-- Returns the schema in which a handler makes tables that it names without one, other than one. $1: the one to leave out.
select coalesce((select s.name from unnest(current_schemas(false)) with ordinality as s (name, n) where s.name <> $1 order by s.n limit 1), '')
