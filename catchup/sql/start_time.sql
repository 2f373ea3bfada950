-- Returns the position of the first event that was made at $2 or later, among the first $3 events behind position $1, and the last
-- position among these; nulls where there is none. Index: the primary key; there is none over the times.
select min(global_position) filter (where created_at >= $2::timestamptz), max(global_position)
from (select global_position, created_at from rouse.events where global_position > $1::bigint order by global_position limit $3::int) chunk
