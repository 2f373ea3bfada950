-- Returns the first visible position after $1, or null: a reader leaps over a stretch without events to it. Index: the
-- primary key.
select min(global_position) from rouse.events where global_position > $1
