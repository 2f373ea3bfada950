-- tags_seen: how much of each tag there is to see.
--
-- Parameters: $1 tags.
-- Returns for each the highest entry that is visible, 0 if there is none: every entry below it is visible too, or never will be.
-- It runs before the statement that reads the events: what comes between the two is read and counts as not seen, which costs a
-- repetition, and never the other way round.
-- Index: the primary key of event_tags, backwards for one row. Locks: none.
select t.tag, coalesce((select max(r.entry) from event_tags r where r.tag = t.tag), 0)
from unnest($1::text[]) t (tag)
