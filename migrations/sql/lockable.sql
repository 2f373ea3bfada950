-- Returns which of some tables and views are there, and whether each is a view: views first, then the one that is named, then the
-- others as they are given, each once.
-- $1: the names, found by search_path; $2: one of them, or ''.
-- Lock: none but on catalogs. Index: those of the catalogs.
select n.name, c.relkind = 'v'
from unnest($1::text[]) with ordinality as n (name, place) join pg_class c on c.oid = to_regclass(n.name)
group by n.name, c.relkind
order by c.relkind <> 'v', n.name <> $2, min(n.place)
