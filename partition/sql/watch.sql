-- Looks at the other members. Returns the number of the living, this one included; all that this one plans by as one text, which
-- differs as soon as another one joins, dies, leaves or changes its limits, and as soon as a projection gets another number of
-- partitions or a barrier, is paused or resumed, or is to start over; whether one of the others has work in hand; the presence
-- locks of the others, as KEY/PID/PID.. with the server's processes that may hold it, none: any; and in how many seconds the text
-- will differ by itself, null: it will not.
-- $1: instance of this member.
-- Index: none, the tables have a row per worker and per projection.
select count(*) + 1,
       coalesce(string_agg(concat_ws('/', instance_id, leaving, max_partitions, avoids, (select string_agg(name, ',' order by name) from jsonb_object_keys(states) name)),
                           ' ' order by instance_id), '')
         || coalesce((select string_agg(concat_ws('/', projection_name, partitions, case when barrier_until > clock_timestamp() then barrier end,
                                                  state = 'paused', reset_to, reset_due_at <= clock_timestamp()), ' ' order by projection_name)
                      from rouse.projections), ''),
       coalesce(bool_or(working), false),
       coalesce(array_agg(presence::oid || '/' || coalesce(array_to_string(presence_pids, '/'), '')) filter (where presence is not null), '{}'),
       (select extract(epoch from min(at) - clock_timestamp())::float8
        from rouse.projections, lateral (values (barrier_until), (reset_due_at)) as due (at) where at > clock_timestamp())
from rouse.rouse_members where alive and instance_id <> $1::text::uuid
