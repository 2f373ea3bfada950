-- The last visible position up to $1, 0 if there is none. Idle checkpoints follow it, so that lag is never negative after
-- rollbacks or a sequence that jumped. Index: the primary key, backwards.
select coalesce(max(global_position), 0) from events where global_position <= $1
