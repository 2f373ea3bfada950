-- Forgets that events were tried, in the transaction that finishes them. $1: projection; $2: positions. Index: the primary key.
delete from event_attempts where projection_name = $1 and global_position = any ($2::bigint[])
