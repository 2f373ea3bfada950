-- Returns the archives with their filters, the first first. Index: the primary key. Lock: none.
select first_position, last_position, events, sha256, path, removed_to, created_at, streams from rouse_archives order by first_position
