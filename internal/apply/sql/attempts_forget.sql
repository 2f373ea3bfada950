-- Deletes the attempts at events, in the transaction that finishes the events. $1: projection; $2: positions. Index:
-- the primary key.
delete from rouse.event_attempts where projection_name = $1 and global_position = any ($2::bigint[])
