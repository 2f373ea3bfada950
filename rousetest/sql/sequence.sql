-- Lets positions that are given out from now on be above $1, so that a handler can append behind the events of its scenario. What a
-- sequence has given out is not rolled back. Returns what it gives out next, less one.
select setval(pg_get_serial_sequence('events', 'global_position'),
              greatest($1::bigint, coalesce(pg_sequence_last_value(pg_get_serial_sequence('events', 'global_position')::regclass), 0)))
