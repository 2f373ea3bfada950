-- Returns the workers, by label, and whether each counts as alive. Texts are cut: a worker writes them as it likes.
-- Index: none, the table has a row per worker.
select w.instance_id::text, left(w.label, 300), w.assignment, w.worker_index, w.total_workers, left(w.host, 300), w.pid, left(w.mode, 300),
       case when length(w.states::text) < 1000000 then w.states::text else '{}' end,
       w.events_handled, w.events_per_second::float8,
       extract(epoch from clock_timestamp() - w.last_wake_at)::float8,
       extract(epoch from clock_timestamp() - w.heartbeat_at)::float8,
       extract(epoch from clock_timestamp() - w.started_at)::float8,
       m.alive, w.max_partitions, w.leaving, case when length(w.avoids::text) < 1000000 then w.avoids::text else '{}' end,
       case when length(w.troubles::text) < 1000000 then w.troubles::text else '{}' end, clock_timestamp()
from projection_workers w join rouse_members m using (instance_id)
order by w.label, w.started_at
