-- From the insert of an event to that of its row, on the server's one clock: the commit of the event is in it, that of the row
-- is not.
-- $1: only events after this position; $2: only what was handled in the last so many seconds (null: at any time).
-- Returns median and 99th percentile in milliseconds, null where there is nothing. Index: demo_log_handled_at, one range.
select q[1], q[2]
from (
  select percentile_disc(array[0.5, 0.99]) within group (order by extract(epoch from handled_at - appended_at)::float8 * 1000) as q
  from demo_log
  where global_position > $1 and handled_at > coalesce(statement_timestamp() - make_interval(secs => $2::float8), '-infinity')
) p
