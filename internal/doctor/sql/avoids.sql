-- Living workers that cannot take some partitions, because a handler of theirs has not come back, and which.
-- Index: none, the table has a row per worker.
select w.label, w.host, w.pid, a.key, (select string_agg(n, ', ' order by n::int) from jsonb_array_elements_text(a.value) n)
from projection_workers w join rouse_members m using (instance_id), jsonb_each(w.avoids) a
where m.alive and jsonb_array_length(a.value) > 0
order by w.label, a.key
