-- Returns behind which position the log is whole, and in which places the events are that it lacks behind $1, null: nobody knows.
-- $1: a position. Lock: none: whoever makes a checkpoint by what this says is judged again, by the trigger rouse_keep_whole.
select r.whole_from,
       (select string_agg(distinct coalesce(nullif(regexp_replace(a.path, '/?[^/]*$', ''), ''), a.path), ', ')
        from rouse.rouse_archives a where a.removed_to > $1::bigint)
from rouse.rouse_retention r
