-- Three roles with the least that appending, working and looking need. They cannot log in: grant
-- them to roles that can.
--
--   psql -v ON_ERROR_STOP=1 -d shop -c 'set search_path = rouse' -f deploy/sql/roles.sql
--   psql -d shop -c "create role shop_worker login in role rouse_worker"
--
-- Run it as a superuser, or as the owner of the schema where the roles are there already, after
-- `rouse migrate`, and again after each release that brings tables. It may be run at any time: it
-- changes only what is missing. search_path picks the schema.

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

-- Workers, `rouse parked`, `rouse projection` (resize excepted, which is the owner's) and `rouse
-- doctor`. They read events and never write one. What your projections write is yours to grant.
grant select on events, rouse_migrations, rouse_members to rouse_worker;
grant select on sequence events_global_position_seq to rouse_worker;
grant select, insert, update on projections, projection_checkpoints to rouse_worker;
grant select, insert on rouse_incarnation to rouse_worker;
grant update on rouse_restart to rouse_worker;
grant select, insert, update, delete on projection_workers, event_attempts, parked_events to rouse_worker;

-- `rouse status` and whoever asks for the lag.
grant select on events, rouse_migrations, projections, projection_checkpoints, projection_workers, parked_events, rouse_members
  to rouse_reader;
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

-- Shows a reader how long open appends of other roles have been open. Some hosters let nobody
-- grant it; then status leaves the age out.
do $$
begin
  grant pg_read_all_stats to rouse_reader;
exception when insufficient_privilege then
  raise notice 'pg_read_all_stats is not granted to rouse_reader: %', sqlerrm;
end $$;
