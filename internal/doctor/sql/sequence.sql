-- Returns the sequence of events.global_position: its name ('' if there is none), whether the column is GENERATED
-- ALWAYS ('a'), how many values it caches, its increment, its last value (null: none given out, or the role may not see it), and the
-- last position in the log.
-- A position is taken before it can be seen, so the last value, which no snapshot holds back, is never behind by
-- itself.
-- Index: the primary key of events, backwards.
with s as materialized (select pg_get_serial_sequence('events', 'global_position')::regclass as seq)
select coalesce(pg_get_serial_sequence('events', 'global_position'), ''), a.attidentity::text,
       coalesce((select seqcache from pg_sequence where seqrelid = s.seq), 0),
       coalesce((select seqincrement from pg_sequence where seqrelid = s.seq), 1),
       case when has_sequence_privilege(s.seq, 'select') or has_sequence_privilege(s.seq, 'usage') then pg_sequence_last_value(s.seq) end,
       coalesce((select max(global_position) from events), 0)
from s, pg_attribute a
where a.attrelid = 'events'::regclass and a.attname = 'global_position'
