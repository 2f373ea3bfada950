-- tags_add: give tags to events.
--
-- Parameters: $1 tags, $2 for each the id of its event.
-- Returns whether a row got a number that is not above all that its tag had: then the sequence was set back, and conditions that were read before
-- would not see the row. The trigger rouse_tag_before numbers the rows.
-- Index: those of event_tags, the primary key backwards for one row of each tag. Locks: those of the tags, until the end of the transaction,
-- which eventstore holds already.
with added as (
  insert into event_tags (tag, event_id)
  select t.tag, t.id::uuid
  from unnest($1::text[], $2::text[]) t (tag, id)
  returning tag, entry
)
select coalesce(bool_or(a.entry <= (select max(r.entry) from event_tags r where r.tag = a.tag)), false)
from added a
