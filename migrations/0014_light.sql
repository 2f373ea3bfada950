-- 0014 light: what an append carries costs it less, and ids are in the order of time where nobody chooses one.
-- oldest binary that works on it: 2
-- locks: events
--
-- Takes ACCESS EXCLUSIVE on events for a moment; nothing is rewritten. Binaries before version 14 go on working: keys, locks, notes and
-- channels are what they were.

-- K and synchronous commit, as in migration 8, with a short way that nearly every append takes: one that is the first of its
-- transaction, of a log that has given a position out, with nobody in the way. What is not so goes the long way, which may also follow
-- the short one: the lock is taken under the same key again.
--
-- The arguments say which sequence belongs to which table, by their oids. Looking that up was a third of the trigger. Where they are of
-- another table, as after a restore, or the sequence is gone, the long way looks it up. Where they name the wrong sequence for the
-- right table, which a restore could bring about by chance, readers stand still (catchup/sql/low_water.sql), so that nothing is passed
-- over.
--
-- No setting of the function, because to change search_path and back costs as much as an empty trigger does. So every name in it, of
-- functions, tables, types and operators, says pg_catalog: nothing is resolved by a name that the caller can choose. An operator
-- that does has the precedence of any other, hence the parentheses.
create or replace function rouse_append_before() returns trigger
language plpgsql security definer as $$
declare
  low  bigint := case when (tg_argv[0]::pg_catalog.oid operator(pg_catalog.=) tg_relid)
                        and pg_catalog.pg_relation_filenode(tg_argv[1]::pg_catalog.oid) is not null
                      then pg_catalog.pg_sequence_last_value(tg_argv[1]::pg_catalog.oid) end;
  note pg_catalog.text;
  held pg_catalog.text;
  tag  bigint;
  key  bigint;
begin
  if coalesce(pg_catalog.current_setting('rouse.lw_' operator(pg_catalog.||) tg_relid::pg_catalog.text, true), '') operator(pg_catalog.=) ''
     and pg_catalog.pg_try_advisory_xact_lock_shared(
           ((tg_relid::bigint operator(pg_catalog.&) 16777215) operator(pg_catalog.<<) 40) operator(pg_catalog.|) (low operator(pg_catalog.&) 1099511627775))
     and pg_catalog.set_config('rouse.lw_' operator(pg_catalog.||) tg_relid::pg_catalog.text, low::pg_catalog.text, true) operator(pg_catalog.<>) ''
     and pg_catalog.current_setting('synchronous_commit') operator(pg_catalog.<>) 'off' then
    return null;
  end if;
  note := 'rouse.lw_' operator(pg_catalog.||) tg_relid::pg_catalog.text;
  tag := (tg_relid::bigint operator(pg_catalog.&) 16777215) operator(pg_catalog.<<) 40;
  held := pg_catalog.current_setting(note, true);
  if low is null then
    if tg_table_name operator(pg_catalog.<>) 'events' then
      raise exception 'rouse_append_before belongs to the table events, and not to %', tg_table_name
        using errcode = 'object_not_in_prerequisite_state';
    end if;
    select pg_catalog.pg_sequence_last_value(d.objid) into low
    from pg_catalog.pg_depend d
    where (d.refclassid operator(pg_catalog.=) 1259) and (d.refobjid operator(pg_catalog.=) tg_relid) and (d.refobjsubid operator(pg_catalog.=) 1)
      and (d.classid operator(pg_catalog.=) 1259) and (d.deptype operator(pg_catalog.=) 'i');
    if not found then
      raise exception 'the first column of % has no identity sequence', tg_relid::pg_catalog.regclass
        using errcode = 'object_not_in_prerequisite_state';
    end if;
  end if;
  if low is null then
    for quarter in 0..3 loop
      key := quarter::bigint operator(pg_catalog.<<) 38;
      while not pg_catalog.pg_try_advisory_xact_lock_shared(tag operator(pg_catalog.|) (key operator(pg_catalog.&) 1099511627775)) loop
        key := (key operator(pg_catalog.-) 1) operator(pg_catalog.-) (pg_catalog.random() operator(pg_catalog.*) 1000000)::bigint;
      end loop;
    end loop;
  else
    key := low;
    if held operator(pg_catalog.<>) '' then
      if (case when held operator(pg_catalog.~) '^-?[0-9]{1,18}$' then held::bigint operator(pg_catalog.<) low else false end) then
        key := held::bigint;
      end if;
    end if;
    while not pg_catalog.pg_try_advisory_xact_lock_shared(tag operator(pg_catalog.|) (key operator(pg_catalog.&) 1099511627775)) loop
      key := (key operator(pg_catalog.-) 1) operator(pg_catalog.-) (pg_catalog.random() operator(pg_catalog.*) 1000000)::bigint;
    end loop;
    if held is null or (held operator(pg_catalog.<>) key::pg_catalog.text) then
      perform pg_catalog.set_config(note, key::pg_catalog.text, true);
    end if;
  end if;
  if pg_catalog.current_setting('synchronous_commit') operator(pg_catalog.=) 'off' then
    perform pg_catalog.set_config('synchronous_commit', 'on', true);
  end if;
  return null;
end $$;

-- The push, as in migration 8, without a setting and with names as above.
create or replace function rouse_append_after() returns trigger
language plpgsql as $$
declare
  k      int;
  sleeps boolean; -- null: not known, because another append asks, or a stranger stands in the way
begin
  -- One expression, because a cancel between two statements would leave the lock behind.
  if (case when pg_catalog.pg_try_advisory_lock(1919907155, (tg_relid::bigint operator(pg_catalog.-)
               case when tg_relid::bigint operator(pg_catalog.>) 2147483647 then 4294967296 else 0 end)::int)
           then pg_catalog.pg_advisory_unlock(1919907155, (tg_relid::bigint operator(pg_catalog.-)
               case when tg_relid::bigint operator(pg_catalog.>) 2147483647 then 4294967296 else 0 end)::int)
           else false end) then
    return null;
  end if;
  k := (tg_relid::bigint operator(pg_catalog.-) case when tg_relid::bigint operator(pg_catalog.>) 2147483647 then 4294967296 else 0 end)::int;
  sleeps := case when not pg_catalog.pg_try_advisory_lock_shared(1919907155, k) then null
                 when not pg_catalog.pg_advisory_unlock_shared(1919907155, k) then true
                 when pg_catalog.pg_try_advisory_lock(1919907155, k) then not pg_catalog.pg_advisory_unlock(1919907155, k)
                 else true end;
  if sleeps is null then
    sleeps := exists (select from pg_catalog.pg_locks l
                      where (l.locktype operator(pg_catalog.=) 'advisory') and (l.objsubid operator(pg_catalog.=) 2)
                        and (l.classid operator(pg_catalog.=) 1919907155) and (l.objid operator(pg_catalog.=) tg_relid)
                        and (l.mode operator(pg_catalog.=) 'ShareLock') and l.granted
                        and (l.database operator(pg_catalog.=) (select d.oid from pg_catalog.pg_database d
                                                                where d.datname operator(pg_catalog.=) pg_catalog.current_database())));
  end if;
  if not sleeps then
    return null;
  end if;
  perform pg_catalog.pg_notify('rouse_' operator(pg_catalog.||) tg_relid::pg_catalog.text, '');
  return null;
end $$;

do $$
declare
  sequence oid;
begin
  select d.objid into sequence from pg_depend d
  where d.refclassid = 1259 and d.refobjid = 'events'::regclass and d.refobjsubid = 1 and d.classid = 1259 and d.deptype = 'i';
  execute format('create or replace trigger rouse_append_before before insert on events for each statement execute function rouse_append_before(%L, %L)',
                 'events'::regclass::oid, coalesce(sequence, 0));
end $$;
alter table events enable always trigger rouse_append_before;

-- Ids of version 7 begin with the time, so that the index over them grows at its end, and a checkpoint of the server does not have every page of
-- it written anew. eventstore makes them itself; this is for other writers. Before PostgreSQL 18 the time is in milliseconds.
do $$
begin
  if current_setting('server_version_num')::int >= 180000 then
    alter table events alter event_id set default uuidv7();
  else
    alter table events alter event_id set default
      ('0' || to_hex((date_part('epoch', clock_timestamp()) * 1000)::bigint) || '7' || substr(gen_random_uuid()::text, 16))::uuid;
  end if;
end $$;
