-- Takes back tries that were written down and not made, or that an outage or another transaction has ended.
-- $1: projection; $2: positions; $3: seconds until those of them that are first in their queue are tried again. Index: the primary
-- key.
update rouse.parked_events
set tries = greatest(tries - 1, 0), attempts = greatest(attempts - 1, 0), died = greatest(died - 1, 0),
    due_at = case when due_at is not null then clock_timestamp() + make_interval(secs => $3) end
where projection_name = $1 and global_position = any ($2::bigint[])
