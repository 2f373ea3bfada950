-- Has the pushes of the log carry events, under a new key. Run under the migration lock, with events locked.
-- Lock: SHARE ROW EXCLUSIVE on events. Index: the primary key of rouse_push_key.
do $$
begin
  insert into rouse_push_key (inner_pad, outer_pad)
  select string_agg(set_byte('\x00', 0, get_byte(key.bytes, n) # 54), '' order by n), string_agg(set_byte('\x00', 0, get_byte(key.bytes, n) # 92), '' order by n)
  from (select uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())) key (bytes),
       generate_series(0, 63) n
  on conflict (only_row) do update set inner_pad = excluded.inner_pad, outer_pad = excluded.outer_pad, made_at = clock_timestamp();
  execute format('create or replace trigger rouse_append_after after insert on events referencing new table as appended
                  for each statement execute function rouse_append_carry(%L, %L)',
                 'events'::regclass::oid, pg_get_serial_sequence('events', 'global_position')::regclass::oid);
end $$;
alter table events enable always trigger rouse_append_after
