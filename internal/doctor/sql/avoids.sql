-- Returns the living workers that cannot take some partitions, because a handler of theirs has not returned, and the
-- partitions.
-- Index: none, the table has a row per worker.
select left(w.label, 300), left(w.host, 300), w.pid, left(a.key, 300),
       left((select string_agg(n, ', ' order by n::int) from jsonb_array_elements_text(a.value) n), 2000)
from projection_workers w join rouse_members m using (instance_id), jsonb_each(w.avoids) a
where m.alive and jsonb_array_length(a.value) > 0
order by w.label, a.key
