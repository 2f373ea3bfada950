-- 0016 life: where a projection begins, and what becomes of its name once it has ended.
-- oldest binary that works on it: 2
-- locks: projections, event_attempts, parked_events, projection_checkpoints
--
-- Takes ACCESS EXCLUSIVE on projections, event_attempts, parked_events and projection_checkpoints for a moment, in which the rows of
-- the last three are compared with projections. Nothing is rewritten. Earlier binaries
-- leave the columns at their defaults, and begin at the beginning as before.

-- starts_behind: the position behind which the projection began, for checkpoints that have to be made anew.
alter table projections
  add column starts_behind bigint not null default 0 check (starts_behind >= 0);

-- before_start: committed before the projection began, at a position behind which others were committed later. It is passed over (skip).
alter table event_attempts
  add column before_start boolean not null default false;

-- A projection that gets another name takes along what is kept of it.
alter table event_attempts drop constraint event_attempts_projection_name_fkey,
  add constraint event_attempts_projection_name_fkey foreign key (projection_name) references projections on delete cascade on update cascade;
alter table parked_events drop constraint parked_events_projection_name_fkey,
  add constraint parked_events_projection_name_fkey foreign key (projection_name) references projections on delete cascade on update cascade;
alter table projection_checkpoints drop constraint projection_checkpoints_projection_name_fkey,
  add constraint projection_checkpoints_projection_name_fkey foreign key (projection_name) references projections on delete cascade on update cascade;

-- The names that projections had until they were dropped or renamed. No worker makes one of them anew, of whatever version: it would
-- begin at the beginning of the log, and do all of it again. renamed_to: its name since; null: it was dropped.
create table retired_projections (
  projection_name text primary key check (projection_name <> ''),
  renamed_to      text,
  retired_at      timestamptz not null default clock_timestamp()
);

-- Whoever may read projections may read these.
do $$
declare
  grantee oid;
begin
  for grantee in select distinct a.grantee from pg_class c, aclexplode(c.relacl) a
                 where c.oid = 'projections'::regclass and a.privilege_type = 'SELECT' and a.grantee <> c.relowner loop
    execute 'grant select on retired_projections to ' || case grantee when 0 then 'public' else quote_ident(pg_get_userbyid(grantee)) end;
  end loop;
end $$;

-- Refuses a name that is retired. SECURITY DEFINER, because a worker of an earlier binary may run under a role that was granted nothing
-- on the table. The only name that is put into a statement is that of the schema of the table that the trigger is attached to, which its
-- owner alone can do.
create function rouse_refuse_retired() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  renamed text;
  retired timestamptz;
begin
  execute format('select renamed_to, retired_at from %I.retired_projections where projection_name = $1', tg_table_schema)
    into renamed, retired using new.projection_name;
  if retired is null then
    return new;
  end if;
  if renamed is not null then
    raise exception 'projection % is called % since % (name it so in the program)', new.projection_name, renamed, date_trunc('second', retired)
      using errcode = 'object_not_in_prerequisite_state';
  end if;
  raise exception 'projection % was dropped at % and is not made anew by itself (rouse projection create % --from beginning, now, a position or a time says where it begins)',
    new.projection_name, date_trunc('second', retired), new.projection_name
    using errcode = 'object_not_in_prerequisite_state';
end $$;
revoke execute on function rouse_refuse_retired() from public;
create trigger rouse_refuse_retired before insert on projections
  for each row execute function rouse_refuse_retired();

-- Members are told, as in migration 13.
create trigger rouse_tell_gone after delete on projections
  for each row execute function rouse_tell_members();
create trigger rouse_tell_renamed after update on projections
  for each row when (old.projection_name <> new.projection_name) execute function rouse_tell_members();
