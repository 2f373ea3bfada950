-- 0008 strangers: no role, session, lock or setting of others can bend an append, a look at the members or a save.
-- oldest binary that works on it: 2
-- locks: rouse_members, events, parked_events, projection_checkpoints, projection_workers
--
-- Takes ACCESS EXCLUSIVE on events, projection_checkpoints, projection_workers and parked_events for a moment; nothing is
-- rewritten. Binaries of version 7 go on working: what is added they leave at its default.

-- K, as in migration 2: a shared advisory lock, held to the end of the transaction, whose key says "every position I can
-- still fill is above this one". A key that is lower than it has to be is always right, only more careful.
--
-- The lock is taken by every statement. Taken again under the same key it costs a count in the session, no entry in the lock
-- table; so the note, which any role can set, says which key, and never that the lock is held. A note that is no number, or
-- above the sequence's last value, is replaced. A lock that a cursor has lost is held again from the next statement on.
--
-- The append never waits for K. Where another session holds or wants a key exclusively it takes a lower one.
--
-- A sequence that has given nothing out yet may have been told to begin anywhere. Then four keys, a quarter of the 40 bits
-- apart, make one that lies below that, wherever it is.
--
-- SECURITY DEFINER, because reading a sequence needs a right that a role with INSERT alone does not have. Nothing in here is
-- resolved by a name that the caller can choose: the sequence is the one that belongs to the first column of the table.
-- It can be attached to a table by its owner alone (see the revoke below); inserts do not need EXECUTE.
--
-- An append must not be acknowledged before it is durable, because its position would be given away again after a crash. So
-- "off" is raised to "on" in every statement; the stronger settings are left as they are.
create or replace function rouse_append_before() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  note constant text := 'rouse.lw_' || tg_relid;
  held constant text := current_setting(note, true);
  tag  constant bigint := (tg_relid::bigint & 16777215) << 40;
  low  bigint;
  key  bigint;
begin
  if tg_table_name <> 'events' then
    raise exception 'rouse_append_before belongs to the table events, and not to %', tg_table_name
      using errcode = 'object_not_in_prerequisite_state';
  end if;
  select pg_sequence_last_value(d.objid) into low
  from pg_depend d
  where d.refclassid = 1259 and d.refobjid = tg_relid and d.refobjsubid = 1 and d.classid = 1259 and d.deptype = 'i';
  if not found then
    raise exception 'the first column of % has no identity sequence', tg_relid::regclass
      using errcode = 'object_not_in_prerequisite_state';
  end if;
  if low is null then
    for quarter in 0..3 loop
      key := quarter::bigint << 38;
      while not pg_try_advisory_xact_lock_shared(tag | (key & 1099511627775)) loop
        key := key - 1 - (random() * 1000000)::bigint;
      end loop;
    end loop;
  else
    key := low;
    if held <> '' then
      if held ~ '^-?[0-9]{1,18}$' and held::bigint < low then
        key := held::bigint;
      end if;
    end if;
    while not pg_try_advisory_xact_lock_shared(tag | (key & 1099511627775)) loop
      key := key - 1 - (random() * 1000000)::bigint;
    end loop;
    if held is distinct from key::text then
      perform set_config(note, key::text, true);
    end if;
  end if;
  if current_setting('synchronous_commit') = 'off' then
    perform set_config('synchronous_commit', 'on', true);
  end if;
  return null;
end $$;

-- The push, as in migration 6: notify only if somebody sleeps, and appends that ask at the same moment do not take each other
-- for a sleeper. But where a session waits to have S alone, both tries of an append fail as they do beside another append, and
-- everybody would be left asleep. So whoever is refused looks at the locks themselves, which costs as much as all the rest and
-- is needed by one append in a thousand.
create or replace function rouse_append_after() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  k      constant int := (tg_relid::bigint - case when tg_relid::bigint > 2147483647 then 4294967296 else 0 end)::int;
  sleeps boolean; -- null: not known, because another append asks, or a stranger stands in the way
begin
  -- One expression, because a cancel between two statements would leave the lock behind.
  if (case when pg_try_advisory_lock(1919907155, k) then pg_advisory_unlock(1919907155, k) else false end) then
    return null;
  end if;
  sleeps := case when not pg_try_advisory_lock_shared(1919907155, k) then null
                 when not pg_advisory_unlock_shared(1919907155, k) then true
                 when pg_try_advisory_lock(1919907155, k) then not pg_advisory_unlock(1919907155, k)
                 else true end;
  if sleeps is null then
    sleeps := exists (select from pg_locks l
                      where l.locktype = 'advisory' and l.objsubid = 2 and l.classid = 1919907155 and l.objid = tg_relid
                        and l.mode = 'ShareLock' and l.granted
                        and l.database = (select d.oid from pg_database d where d.datname = current_database()));
  end if;
  if not sleeps then
    return null;
  end if;
  perform pg_notify('rouse_' || tg_relid, '');
  return null;
end $$;

-- A function that runs as its owner is nobody's to attach elsewhere.
revoke execute on function rouse_append_before(), rouse_append_after() from public;

-- The token of an incarnation: what is in the unlogged table rouse_incarnation, which a crash or a failover empties, and for
-- engines that keep unlogged tables, two proofs that the server itself has: when it was started, and when its statistics were
-- begun, which crash recovery throws away. A clean restart changes it too, and so does an operator's pg_stat_reset_shared; then
-- workers start over from their checkpoints once. Written so that it is inlined: every save asks. Its names are resolved here.
create function rouse_incarnation_now(token uuid) returns text language sql stable parallel restricted
return encode(uuid_send(token) || timestamptz_send(pg_postmaster_start_time())
              || timestamptz_send(coalesce(pg_stat_get_bgwriter_stat_reset_time(), '-infinity')), 'hex');
grant execute on function rouse_incarnation_now(uuid) to public;

-- How long the names of an event may be, the same for every writer: type and id of an aggregate 2,048 bytes together, because
-- the unique index over them holds rows of at most 2,704, and the type of an event 1,024. What is there already stays.
alter table events
  add constraint events_aggregate_length check (octet_length(aggregate_type) + octet_length(aggregate_id) <= 2048) not valid,
  add constraint events_event_type_length check (octet_length(event_type) <= 1024) not valid;

-- event_id: the event that the checkpoint stands at, so that a log that was put in the place of another is noticed;
-- event_position: the position that this was written for. A save by a binary of version 7 moves last_global_position alone, and
-- then event_id says nothing.
alter table projection_checkpoints add column event_id uuid, add column event_position bigint;

-- presence_pids: the server's processes that hold the presence lock for the worker; null: not told. pushes_missed: how often a
-- poll found events that the push had not told of, and pushes_missed_at when it last did.
alter table projection_workers
  add column presence_pids int[],
  add column pushes_missed bigint not null default 0,
  add column pushes_missed_at timestamptz;

-- As in migration 7. A presence lock counts only where one of the sessions holds it that the worker has named: anybody may
-- share a lock, and a worker that is dead would be kept among the living.
create or replace view rouse_members as
with held as materialized (
  select l.objid, l.pid from pg_locks l
  where l.locktype = 'advisory' and l.objsubid = 2 and l.classid = 1919907152 and l.granted
    and l.database = (select oid from pg_database where datname = current_database())
), restart as materialized (
  select coalesce(max(at), '-infinity') as at
  from (select pg_postmaster_start_time() as at union all select r.at from rouse_restart r) known
  where at <= clock_timestamp()
)
select w.instance_id, w.assignment, w.max_partitions, w.leaving, w.avoids, w.presence, w.states, w.started_at,
       w.heartbeat_at > clock_timestamp() - ttl.value
         and (w.presence is null
              or exists (select from held h where h.objid = w.presence::oid and (w.presence_pids is null or h.pid = any (w.presence_pids))))
       or restart.at > clock_timestamp() - ttl.value and w.heartbeat_at > restart.at - interval '10 minutes' as alive,
       w.presence_pids
from projection_workers w, restart, lateral (select interval '1 millisecond' * w.lease_ttl_ms as value) ttl;

-- The queue of parked events is found by a hash of the aggregate: the names themselves, with the projection's before them, can
-- be longer than a row of an index, and then an event could never be parked.
do $$
declare
  old regclass;
begin
  select i.indexrelid into old from pg_index i
  where i.indrelid = 'parked_events'::regclass and i.indnatts = 4 and not i.indisprimary;
  if old is not null then
    execute format('drop index %s', old);
  end if;
end $$;
create index parked_events_aggregate on parked_events
  (projection_name, hashtextextended(aggregate_id collate "C", 0), global_position);
