-- Finds tables as a handler does that names them without a schema, other than those of one schema: for each its schema and its oid, or
-- null. $1: the names; $2: the schema to leave out. Index: those of the catalogs.
select u.name, n.nspname, c.oid
from unnest($1::text[]) with ordinality as u (name, n)
left join lateral (
  select c.oid, c.relnamespace from unnest(current_schemas(false)) with ordinality as s (name, n)
  join pg_namespace n on n.nspname = s.name join pg_class c on c.relnamespace = n.oid and c.relname = u.name
  where s.name <> $2 and c.relkind in ('r', 'p', 'v', 'm', 'f')
  order by s.n limit 1
) c on true
left join pg_namespace n on n.oid = c.relnamespace
order by u.n
