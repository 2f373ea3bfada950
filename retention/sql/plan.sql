-- Returns how many events would be archived, and the first and the last position of them, 0 if there is none: those before the first that is too
-- young. $1: behind which position; $2: up to which; $3: the time from which on an event is too young. Index: the primary key, over all of them.
-- Lock: none.
select count(*), coalesce(min(global_position), 0), coalesce(max(global_position), 0)
from events
where global_position > $1 and global_position <= $2
  and global_position < coalesce((select min(global_position) from events
                                  where global_position > $1 and global_position <= $2 and created_at >= $3), 9223372036854775807)
