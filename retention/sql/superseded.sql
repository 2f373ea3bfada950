-- Deletes events that stayed when theirs were archived, as the last of their streams, and are not the last any more.
-- $1: how many at most; $2: also the last of streams; $3: up to which position. It never deletes the last of the log. Returns the aggregate of each. Index: the primary key, over what has
-- stayed, and the unique one over streams. Lock: the rows.
with gone as (
  delete from events e
  where e.global_position in (
    select s.global_position
    from rouse_archives a join events s on s.global_position between a.first_position and a.removed_to
    where s.global_position <= $3
      and ($2::bool or exists (select from events n where n.aggregate_type = s.aggregate_type and n.aggregate_id = s.aggregate_id
                                                      and n.aggregate_version > s.aggregate_version))
    order by s.global_position limit $1)
    and e.global_position < (select max(global_position) from events)
  returning aggregate_type, aggregate_id
)
select coalesce(array_agg(aggregate_type), '{}'), coalesce(array_agg(aggregate_id), '{}') from gone
