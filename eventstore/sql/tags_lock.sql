-- tags_lock: take the locks of tags, in one order for everybody, so that appends with several tags do not wait for each other in a ring.
--
-- Parameters: $1 tags, $2 for each whether it is written: then its lock is held alone, and otherwise shared with others that only ask.
-- A statement of its own, before the one that looks: a statement sees what was committed before it began, and this one waits.
-- Index: none. Locks: advisory, until the end of the transaction; the key is that of rouse_tag_before.
select case when k.written then pg_advisory_xact_lock(1919907156, k.key) else pg_advisory_xact_lock_shared(1919907156, k.key) end
from (
  select (hashtextextended(t.tag collate "C", 'event_tags'::regclass::oid::bigint) >> 32)::int as key, bool_or(t.written) as written
  from unnest($1::text[], $2::bool[]) t (tag, written)
  group by 1
  order by 1
) k
