-- The membership as one text, which differs as soon as somebody joins, dies, leaves or wants something else, and as soon as a
-- projection gets another number of partitions or a barrier, is paused or
-- resumed, or is to start over.
-- Index: none, the tables have a row per worker and per projection.
select count(*), coalesce(string_agg(
  concat_ws('/', instance_id, leaving, max_partitions, avoids, (select string_agg(name, ',' order by name) from jsonb_object_keys(states) name)),
  ' ' order by instance_id), '') || coalesce((
    select string_agg(concat_ws('/', projection_name, partitions, case when barrier_until > clock_timestamp() then barrier end,
                                       state = 'paused', reset_to),
                      ' ' order by projection_name)
    from projections), '')
from rouse_members where alive
