-- 0015 carry: a push can carry the events of its append, so that nobody has to read them. It does not, until the owner asks for that.
-- oldest binary that works on it: 2
--
-- Locks no table that anybody uses. Binaries before version 15 go on working: to them a push that carries events is a wake as any other.

-- What pushes that carry events are sealed with: the two padded keys of HMAC-SHA256, 64 random bytes (but for the marks of version 4
-- in each 16) as RFC 2104 has them padded. Anybody may notify on any channel, so a worker believes what a push carries only under this
-- seal. Only the owner and workers read it, and nobody but the owner may write it.
create table rouse_push_key (
  only_row  boolean primary key default true check (only_row),
  inner_pad bytea not null check (octet_length(inner_pad) = 64),
  outer_pad bytea not null check (octet_length(outer_pad) = 64),
  made_at   timestamptz not null default clock_timestamp()
);
revoke all on rouse_push_key from public;

-- The push in a log whose pushes carry events, in the place of rouse_append_after and with the same question. What it sends is empty,
-- as ever, where the events of the statement are more than 64 or do not fit into a notification, which holds 7,999 bytes; else
--
--   SEAL TOKEN DATABASE EVENTS FILE COUNT\n  the seal, in hex, of what follows it behind one space; the token of the incarnation;
--                                            the oids of database and table; the file of the sequence; the number of events
--
-- and each event: its columns of fixed length and five lengths, in the binary form of the wire, as 132 digits in hex, and then its
-- texts, one after the other. So a reader has the bytes that a read would bring, whatever they are, and takes nothing apart that
-- an event could forge.
--
-- The rights of the owner are for the key. Every name says pg_catalog, as in rouse_append_before, or the schema of the table, whose
-- trigger only the owner can make; the token is put together here, because rouse_incarnation_now finds its names by search_path, and
-- where the two differ nobody believes what is carried. The arguments are those of rouse_append_before. Where they are of another table, as after a
-- restore, nothing is carried.
create function rouse_append_carry() returns trigger
language plpgsql security definer as $$
declare
  k      int;
  sleeps boolean;
  events pg_catalog.text;
  push   pg_catalog.text;
begin
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
  if tg_argv[0]::pg_catalog.oid operator(pg_catalog.=) tg_relid then
    -- First how much it is, of no more rows than may be carried. A null among the columns, which are not null, has nothing carried.
    select case when (few.n operator(pg_catalog.<=) 64) and (few.bytes operator(pg_catalog.<=) 7999) then (
        select case when pg_catalog.count(one.event) operator(pg_catalog.=) few.n
                    then few.n::pg_catalog.text operator(pg_catalog.||) e'\n'
                         operator(pg_catalog.||) pg_catalog.string_agg(one.event, '' order by one.global_position using operator(pg_catalog.<)) end
        from (
          select a.global_position,
                 pg_catalog.encode(
                   pg_catalog.int8send(a.global_position) operator(pg_catalog.||) pg_catalog.uuid_send(a.event_id)
                   operator(pg_catalog.||) pg_catalog.int8send(a.aggregate_version) operator(pg_catalog.||) pg_catalog.int4send(a.event_version)
                   operator(pg_catalog.||) pg_catalog.int2send(a.slot) operator(pg_catalog.||) pg_catalog.timestamptz_send(a.created_at)
                   operator(pg_catalog.||) pg_catalog.int4send(pg_catalog.octet_length(a.aggregate_type))
                   operator(pg_catalog.||) pg_catalog.int4send(pg_catalog.octet_length(a.aggregate_id))
                   operator(pg_catalog.||) pg_catalog.int4send(pg_catalog.octet_length(a.event_type))
                   operator(pg_catalog.||) pg_catalog.int4send(pg_catalog.octet_length(a.payload::pg_catalog.text))
                   operator(pg_catalog.||) pg_catalog.int4send(pg_catalog.octet_length(a.metadata::pg_catalog.text)), 'hex')
                 operator(pg_catalog.||) a.aggregate_type operator(pg_catalog.||) a.aggregate_id operator(pg_catalog.||) a.event_type
                 operator(pg_catalog.||) a.payload::pg_catalog.text operator(pg_catalog.||) a.metadata::pg_catalog.text as event
          from appended a
        ) one
      ) end
    into events
    from (
      select pg_catalog.count(*) as n, pg_catalog.sum(pg_catalog.pg_column_size(s.payload) operator(pg_catalog.+) pg_catalog.pg_column_size(s.metadata)) as bytes
      from (select a.payload, a.metadata from appended a limit 65) s
    ) few;
  end if;
  if pg_catalog.octet_length(events) operator(pg_catalog.<) 7999 then
    -- The planner is told that each table has one row: it would take this for a join of thousands, and have it compiled.
    execute pg_catalog.format(
      'select pg_catalog.encode(pg_catalog.sha256(key.outer_pad operator(pg_catalog.||)
                pg_catalog.sha256(key.inner_pad operator(pg_catalog.||) pg_catalog.convert_to(m.message, ''UTF8''))), ''hex'')
              operator(pg_catalog.||) '' '' operator(pg_catalog.||) m.message
       from (select k.inner_pad, k.outer_pad from %1$I.rouse_push_key k limit 1) key, (select t.token from %1$I.rouse_incarnation t limit 1) i,
            (select b.oid from pg_catalog.pg_database b where b.datname operator(pg_catalog.=) pg_catalog.current_database() limit 1) d,
            lateral (select pg_catalog.concat_ws('' '',
              pg_catalog.encode(pg_catalog.uuid_send(i.token) operator(pg_catalog.||) pg_catalog.timestamptz_send(pg_catalog.pg_postmaster_start_time())
                                operator(pg_catalog.||) pg_catalog.timestamptz_send(coalesce(pg_catalog.pg_stat_get_bgwriter_stat_reset_time(), ''-infinity'')), ''hex''),
              d.oid, $1, pg_catalog.pg_relation_filenode($2), $3)) m (message)', tg_table_schema)
    into push using tg_relid, tg_argv[1]::pg_catalog.oid, events;
  end if;
  if (push is null) or (pg_catalog.octet_length(push) operator(pg_catalog.>) 7999) then
    push := '';
  end if;
  perform pg_catalog.pg_notify('rouse_' operator(pg_catalog.||) tg_relid::pg_catalog.text, push);
  return null;
end $$;
revoke execute on function rouse_append_carry() from public;
