-- Returns the last visible position up to $1, and the id of its event; no row if there is none. Idle checkpoints follow
-- it, so that lag is never negative after rollbacks or a sequence that jumped. Index: the primary key, backwards.
select global_position, event_id::text from rouse.events where global_position <= $1 order by global_position desc limit 1
