-- 0002 triggers: what every append carries, whoever makes it: the lock that lets readers prove a hole dead, and the push.
-- oldest binary that works on it: 2
--
-- Both run per statement. The first runs before the statement takes its first position, for VALUES, INSERT .. SELECT,
-- COPY, MERGE and ON CONFLICT alike.

-- K: a shared advisory lock, held to the end of the transaction, whose key says "every position I can still fill is above
-- this one": 24 bits of the table's oid, then 40 bits of the sequence's last value. A reader that finds no lock below a
-- position knows that its transaction has ended, and a commit becomes visible before its locks are released.
--
-- Once per transaction and table, since a transaction of many statements would fill the lock table. The note that says so
-- holds the transaction's id: a note kept on the session would let the next transaction go without a lock.
-- SECURITY DEFINER, because reading a sequence needs a right that a role with INSERT alone does not have.
-- A sequence that has given nothing out yet may have been told to begin anywhere (ALTER TABLE .. RESTART WITH): then the key
-- comes from where it begins, less two times the 32 values that a torn look may be ahead, and one.
-- An append must not be acknowledged before it is durable: its position would be given away again after a crash. So "off"
-- is raised to "on"; the stronger settings are left as they are.
create function rouse_append_before() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  note text := 'rouse.lw_' || tg_relid;
  xact text := pg_current_xact_id()::text;
  seq  text;
  low  bigint;
begin
  if current_setting(note, true) is distinct from xact then
    seq := pg_get_serial_sequence(format('%I.%I', tg_table_schema, tg_table_name), 'global_position');
    low := pg_sequence_last_value(seq::regclass);
    if low is null then
      execute format('select last_value - 65 from %s', seq) into low;
    end if;
    perform pg_advisory_xact_lock_shared(((tg_relid::bigint & 16777215) << 40) | (low & 1099511627775));
    perform set_config(note, xact, true);
    if current_setting('synchronous_commit') = 'off' then
      perform set_config('synchronous_commit', 'on', true);
    end if;
  end if;
  return null;
end $$;

-- The push: notify only if somebody sleeps. A sleeper holds the advisory lock S (two integers: 'rouS', the table's oid)
-- shared, so an exclusive try that fails means "wake me". Nobody asleep: no NOTIFY, and no commit waits for another.
-- One expression, because a cancel between two statements would leave the lock behind, and then nobody could sleep again.
create function rouse_append_after() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  k int := (tg_relid::bigint - case when tg_relid::bigint > 2147483647 then 4294967296 else 0 end)::int;
begin
  if (case when pg_try_advisory_lock(1919907155, k) then not pg_advisory_unlock(1919907155, k) else true end) then
    perform pg_notify('rouse_' || tg_relid, '');
  end if;
  return null;
end $$;

create trigger rouse_append_before before insert on events
  for each statement execute function rouse_append_before();
create trigger rouse_append_after after insert on events
  for each statement execute function rouse_append_after();

-- ALWAYS: a session in replica role (a restore, a bulk load) would skip an ordinary trigger.
alter table events enable always trigger rouse_append_before;
alter table events enable always trigger rouse_append_after;
