-- Three roles with the least that appending, working and looking need. They cannot log in: grant
-- them to roles that can.
--
--   psql -v ON_ERROR_STOP=1 -d shop -c 'set search_path = rouse' -f deploy/sql/roles.sql
--   psql -d shop -c "create role shop_worker login in role rouse_worker"
--
-- Run it as a superuser, or as the owner of database and schema where the roles are there already,
-- after `rouse migrate`, and again after each release that brings tables. It may be run at any time:
-- it changes only what is missing. search_path picks the schema.
--
-- It takes the right to connect to this database from PUBLIC: whoever may connect can hold locks and
-- send notifications that delay the work. The three roles, and the owners of the database and of the
-- schema, keep it. Give it to the other roles of your application: grant connect on database shop to
-- shop_web. Those that can log in and have lost it are named.

do $$
declare
  role text;
begin
  if to_regclass('events') is null then
    raise exception 'there is no table events in the schemas of search_path' using hint = 'Run rouse migrate, and set search_path.';
  end if;
  foreach role in array array['rouse_appender', 'rouse_worker', 'rouse_reader'] loop
    if not exists (select from pg_roles where rolname = role) then
      execute format('create role %I nologin', role);
    end if;
    execute format('grant usage on schema %s to %I', (select relnamespace::regnamespace from pg_class where oid = 'events'::regclass), role);
  end loop;
end $$;

-- Appends. No right on global_position, so that nobody can choose a position, none to change or
-- remove an event, and none on the sequence, which the trigger reads with its owner's. SELECT is
-- for the expected version; rouse_migrations is for `rouse append`.
grant select on events, rouse_migrations to rouse_appender;
grant insert (event_id, aggregate_type, aggregate_id, aggregate_version, event_type, event_version, payload, metadata)
  on events to rouse_appender;
grant select, insert, update on rouse_snapshots to rouse_appender; -- aggregate.Snapshot; an erasure must not be undone by one
grant select (stream, at) on rouse_erasures to rouse_appender;
grant select on event_tags to rouse_appender;
grant insert (tag, event_id) on event_tags to rouse_appender;

-- Workers, `rouse parked`, `rouse projection` (resize, drop, rename and promote excepted, which are the owner's) and `rouse
-- doctor`. They read events and never write one. What your projections write is yours to grant.
grant select on events, rouse_migrations, rouse_members, rouse_push_key, retired_projections to rouse_worker;
grant select on sequence events_global_position_seq to rouse_worker;
grant select, insert, update on projections, projection_checkpoints to rouse_worker;
grant select, insert on rouse_incarnation to rouse_worker;
grant update on rouse_restart to rouse_worker;
grant select on rouse_retention, rouse_archives to rouse_worker;
grant select, insert, update, delete on projection_workers, event_attempts, parked_events to rouse_worker;

-- `rouse status` and whoever asks for the lag.
grant select on events, rouse_migrations, projections, retired_projections, projection_checkpoints, projection_workers, parked_events,
  rouse_members, rouse_retention, rouse_archives to rouse_reader;
grant select on sequence events_global_position_seq to rouse_reader;

-- The read model of the built-in projection, if it is there. A worker of this role cannot create
-- it: run `rouse worker --once` once under the owner's role.
do $$
begin
  if to_regclass('scaling_activity') is not null then
    grant select, insert, update, delete on scaling_activity to rouse_worker;
    grant select on scaling_activity to rouse_reader;
  end if;
end $$;

-- Which migrations of your program were applied, which its workers look at when they start. It is there after `migrate` of a
-- program that has any.
do $$
begin
  if to_regclass('rouse_program_migrations') is not null then
    grant select on rouse_program_migrations to rouse_worker, rouse_appender, rouse_reader;
  end if;
end $$;

-- pg_read_all_stats shows a reader how long open appends of other roles have been open, and their
-- programs, and with that the statements of every session on the server, those of other databases
-- and of superusers as well, passwords in them included. So it is not granted, unless asked for:
--
--   psql ... -c 'set search_path = rouse' -c 'set rouse.reader_sees_sessions = on' -f deploy/sql/roles.sql
--
-- Some hosters let nobody grant it; then status leaves the age out, as it does without.
do $$
begin
  if lower(current_setting('rouse.reader_sees_sessions', true)) in ('on', 'true', 'yes', '1') then
    grant pg_read_all_stats to rouse_reader;
  elsif pg_has_role('rouse_reader', 'pg_read_all_stats', 'member') then
    raise notice 'rouse_reader may see the statements of every session on this server'
      using hint = 'It was granted by hand or by an earlier release. Take it away with: revoke pg_read_all_stats from rouse_reader';
  end if;
exception when insufficient_privilege then
  raise notice 'pg_read_all_stats is not granted to rouse_reader: %', sqlerrm;
end $$;

-- Who may connect. The owner of a database grants and revokes that, and a superuser.
do $$
declare
  owner regrole := (select datdba from pg_database where datname = current_database());
  role  text;
  shut  text;
begin
  if not pg_has_role(owner, 'usage') then
    raise notice 'everybody may go on connecting to this database'
      using hint = format('It belongs to %s, who may say: revoke connect on database %I from public; grant connect on database %I to '
        'rouse_appender, rouse_worker, rouse_reader', owner, current_database(), current_database());
    return;
  end if;
  for role in
    select 'rouse_appender' union select 'rouse_worker' union select 'rouse_reader'
    union select pg_get_userbyid(datdba) from pg_database where datname = current_database()
    union select pg_get_userbyid(relowner) from pg_class where oid = 'events'::regclass
    union select pg_get_userbyid(nspowner) from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = 'events'::regclass
  loop
    execute format('grant connect on database %I to %I', current_database(), role);
  end loop;
  if exists (select from pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
             where d.datname = current_database() and a.grantee = 0 and a.privilege_type = 'CONNECT') then
    execute format('revoke connect on database %I from public', current_database());
    select string_agg(quote_ident(rolname), ', ' order by rolname) into shut
    from pg_roles where rolcanlogin and not has_database_privilege(oid, current_database(), 'connect');
    if shut is not null then
      raise notice 'these roles can log in, but not to this database any more: %', shut
        using hint = format('Where one should: grant connect on database %I to ...', current_database());
    end if;
  end if;
end $$;
