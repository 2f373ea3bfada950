-- tags_check: look for an event that a condition excludes: one that matches, and that its maker has not seen; or for one that was seen, and
-- is not there any more.
--
-- Parameters: $1 the items of the condition as json: {"tags": [..], "seen": [..], "ids": [..], "types": [..]}, seen being for each tag the highest
-- entry that was read, 0 if there was none, and ids that of its event. An event matches an item if it has all of its tags, and one of its
-- types if there are any.
-- Returns the isolation level of the transaction, and a tag and the position of such an event, or nulls. An event that is not in the log
-- is taken for one that matches, since nobody can look at its type.
-- Every tag of an item is looked at behind what was seen of it, because tags of one event can have come in several transactions.
-- The last entry that was seen has to be there as it was. It is not where the table was emptied, is another one (a copy numbers anew), or
-- belongs to a server that has lost commits: then its entries say nothing of what was read.
-- OFFSET 0, so that each event is found by its id: the planner takes json for a hundred rows, and would read the log whole.
-- Index: the primary key of event_tags, from the entry on; event_tags_event_id_idx; the unique one over event_id.
-- Locks: none; those of the tags are held.
select current_setting('transaction_isolation'), f.tag, f.global_position
from (select 1) one
left join lateral (
  (select t.tag, e.global_position
   from json_array_elements($1::text::json) i (item)
   cross join lateral (
     select array(select json_array_elements_text(i.item -> 'tags')) as tags,
            array(select json_array_elements_text(i.item -> 'seen')::bigint) as seen,
            array(select json_array_elements_text(i.item -> 'types')) as types
   ) q
   cross join lateral unnest(q.tags, q.seen) s (tag, seen)
   cross join lateral (select r.tag, r.event_id from event_tags r where r.tag = s.tag and r.entry > s.seen order by r.entry) t
   left join lateral (select * from events l where l.event_id = t.event_id offset 0) e on true
   where (cardinality(q.types) = 0 or e.event_type is null or e.event_type = any (q.types))
     and not exists (select from unnest(q.tags) o (tag)
                     where o.tag <> t.tag and not exists (select from event_tags r where r.event_id = t.event_id and r.tag = o.tag))
   limit 1)
  union all
  (select s.tag, null
   from json_array_elements($1::text::json) i (item)
   cross join lateral unnest(array(select json_array_elements_text(i.item -> 'tags')),
                             array(select json_array_elements_text(i.item -> 'seen')::bigint),
                             array(select json_array_elements_text(i.item -> 'ids'))) s (tag, seen, id)
   where s.seen > 0 and (select r.event_id::text from event_tags r where r.tag = s.tag and r.entry = s.seen) is distinct from s.id
   limit 1)
  limit 1
) f on true
