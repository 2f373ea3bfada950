-- Returns the archives, the first first, without their filters. Index: the primary key. Lock: none.
select first_position, last_position, events, sha256, path, removed_to, created_at from rouse_archives order by first_position
