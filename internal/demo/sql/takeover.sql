-- When another worker went on with the partitions of a worker: the first event of one of them that another one has handled,
-- and whether any event of them was appended since the mark at all.
-- $1: the mark, a time; $2: the label of the worker; $3: partitions of the projection less one; $4: its partitions; $5: the
-- last position at the mark.
-- Index: demo_log_handled_at and the primary key of events, one range each; the second stops at the first event it finds.
select (
  select min(l.handled_at)
  from demo_log l join events e using (global_position)
  where l.handled_at > $1 and l.worker <> $2 and e.slot & $3::int = any ($4::int[])
), exists (
  select from events e where e.global_position > $5 and e.slot & $3::int = any ($4::int[])
)
