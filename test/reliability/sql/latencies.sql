-- How long the events that were appended in a time took from the commit of their append to the commit of their handling, in
-- milliseconds, with their aggregates. Needs track_commit_timestamp. $1, $2: the time.
select e.aggregate_id, (extract(epoch from pg_xact_commit_timestamp(h.xmin) - pg_xact_commit_timestamp(e.xmin)) * 1000)::bigint
from events e join handled h on h.position = e.global_position
where e.created_at between $1 and $2
