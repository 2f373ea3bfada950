-- Returns the last position of the log, and the last version of each of some aggregates in it: a row for each, in the order of the
-- arrays. $1, $2: types and ids. Index: the primary key, and the one on aggregates.
select (select coalesce(max(global_position), 0) from events),
       coalesce((select max(e.aggregate_version) from events e where e.aggregate_type = a.type and e.aggregate_id = a.id), 0)
from unnest($1::text[], $2::text[]) with ordinality as a (type, id, number)
order by a.number
