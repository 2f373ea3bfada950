-- Returns those of some aggregates that still have parked events, once their partitions are locked. $1: projection; $2,
-- $3: types and ids. Index: the one on aggregates.
select a.type, a.id from unnest($2::text[], $3::text[]) as a (type, id)
where exists (select from rouse.parked_events e
              where e.projection_name = $1 and hashtextextended(e.aggregate_id collate "C", 0) = hashtextextended(a.id collate "C", 0)
                and e.aggregate_type = a.type and e.aggregate_id = a.id)
