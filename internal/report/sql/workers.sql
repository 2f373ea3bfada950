-- The workers, by label, and whether each counts as alive. Index: none, the table has a row per worker.
select w.instance_id::text, w.label, w.assignment, w.worker_index, w.total_workers, w.host, w.pid, w.mode, w.states::text,
       w.events_handled, w.events_per_second::float8,
       extract(epoch from clock_timestamp() - w.last_wake_at)::float8,
       extract(epoch from clock_timestamp() - w.heartbeat_at)::float8,
       extract(epoch from clock_timestamp() - w.started_at)::float8,
       m.alive, w.max_partitions, w.leaving, w.avoids::text
from projection_workers w join rouse_members m using (instance_id)
order by w.label, w.started_at
