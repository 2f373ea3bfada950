-- The membership as one text, which differs as soon as somebody joins, dies, leaves or wants something else.
-- Index: none, the table has a row per worker.
select count(*), coalesce(string_agg(
  concat_ws('/', instance_id, leaving, max_partitions, avoids, (select string_agg(name, ',' order by name) from jsonb_object_keys(states) name)),
  ' ' order by instance_id), '')
from rouse_members where alive
