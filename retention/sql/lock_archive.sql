-- Returns up to where the events of an archive are gone, its end and its sum. $1: its first position. Lock: the row. Index: the primary key.
select removed_to, last_position, sha256 from rouse_archives where first_position = $1 for update
