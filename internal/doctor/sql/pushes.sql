-- Returns the living workers that found events lately which the push had not told of: label, host, process, how many in all, and
-- how long ago the last heartbeat said so, in seconds. $1: what is lately, in seconds.
-- Index: none, the table has a row per worker.
select w.label, w.host, w.pid, w.pushes_missed, extract(epoch from clock_timestamp() - w.pushes_missed_at)::float8
from projection_workers w join rouse_members m using (instance_id)
where m.alive and w.pushes_missed_at > clock_timestamp() - interval '1 second' * $1::float8
order by w.label
