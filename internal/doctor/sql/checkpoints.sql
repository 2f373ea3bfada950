-- Returns the checkpoints that are beyond the end of the log, by projection: their number, the furthest, and the end of
-- the log. The end is the last value of the sequence; for a role that may not see it, the last event, which is never
-- ahead of that.
-- Index: the primary key of events, backwards.
with s as materialized (
  select pg_get_serial_sequence('events', 'global_position')::regclass as seq
), head as materialized (
  select greatest(coalesce((select max(global_position) from events), 0),
                  coalesce(case when has_sequence_privilege(seq, 'select') or has_sequence_privilege(seq, 'usage') then pg_sequence_last_value(seq) end, 0)) as position
  from s
)
select c.projection_name, count(*)::int, max(c.last_global_position), head.position
from projection_checkpoints c, head
where c.last_global_position > head.position
group by c.projection_name, head.position
order by c.projection_name
