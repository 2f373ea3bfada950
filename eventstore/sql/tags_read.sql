-- tags_read: the events that match one of some items, in the order of the log.
--
-- Parameters: $1 the items as json: {"tags": [..], "types": [..]}. An event matches an item if it has all of its tags, and one of its types if there
-- are any.
-- The first row has nulls if an event is not in the log any more that may match.
-- OFFSET 0, so that each event is found by its id: the planner takes json for a hundred rows, and would read the log whole.
-- Index: the primary key of event_tags by the first tag of each item; event_tags_event_id_idx for its others; the unique one over event_id.
-- Locks: none.
select distinct on (e.global_position)
       e.global_position, e.event_id, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.event_type, e.event_version,
       e.payload, e.metadata, e.slot, e.created_at
from json_array_elements($1::text::json) i (item)
cross join lateral (
  select array(select json_array_elements_text(i.item -> 'tags')) as tags,
         array(select json_array_elements_text(i.item -> 'types')) as types
) q
cross join lateral (select r.event_id from event_tags r where r.tag = q.tags[1] order by r.entry) t
left join lateral (select * from events l where l.event_id = t.event_id offset 0) e on true
where (cardinality(q.types) = 0 or e.event_type is null or e.event_type = any (q.types))
  and not exists (select from unnest(q.tags[2:]) o (tag)
                  where not exists (select from event_tags r where r.event_id = t.event_id and r.tag = o.tag))
order by e.global_position nulls first
