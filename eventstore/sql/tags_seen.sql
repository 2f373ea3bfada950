-- tags_seen: how much of each tag there is to see.
--
-- Parameters: $1 tags.
-- Returns for each that has any the highest entry that is visible, and the id of its event: every entry below it is visible too, or never
-- will be.
-- It runs before the statement that reads the events: what comes between the two is read and counts as not seen, which costs a
-- repetition, and never the other way round.
-- Index: the primary key of event_tags, backwards for one row. Locks: none.
select t.tag, r.entry, r.event_id::text
from unnest($1::text[]) t (tag)
cross join lateral (select l.entry, l.event_id from event_tags l where l.tag = t.tag order by l.entry desc limit 1) r
