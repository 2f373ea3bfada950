-- Returns events as a record has them, up to the first that is too young.
-- $1: behind which position; $2: up to which; $3: the time from which on an event is too young; $4: how many at most.
-- Index: the primary key. Lock: none.
select e.global_position, e.event_id::text, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.event_type, e.event_version,
       to_char(e.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), e.payload::text, e.metadata::text
from (select *, bool_or(created_at >= $3::timestamptz) over (order by global_position) as young
      from (select * from events where global_position > $1 and global_position <= $2 order by global_position limit $4) first) e
where not e.young
order by e.global_position
