-- The first visible position after $1, or null: how a reader leaps over a stretch without events. Index: the primary key.
select min(global_position) from events where global_position > $1
