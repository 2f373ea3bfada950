-- tags_add: give tags to events.
--
-- Parameters: $1 tags, $2 for each the id of its event.
-- Returns nothing. The trigger rouse_tag_before numbers the rows.
-- Index: those of event_tags. Locks: those of the tags, until the end of the transaction, which eventstore holds already.
insert into event_tags (tag, event_id)
select t.tag, t.id::uuid
from unnest($1::text[], $2::text[]) t (tag, id)
