-- 0018 retention: events that every projection has handled may leave the log for an archive, and none is built of half a history.
-- oldest binary that works on it: 2
-- locks: projection_checkpoints
--
-- Takes SHARE ROW EXCLUSIVE on projection_checkpoints for a moment; nothing is rewritten.

-- whole_from: the log has every event behind this position; 0: it has all. What removes events holds the row FOR UPDATE while it looks
-- at the checkpoints and removes, and what makes a checkpoint or sets one back holds it FOR SHARE: so neither acts on what the other
-- changes. A row and no advisory lock, because whoever may connect can take those.
create table rouse_retention (
  only_row   boolean primary key default true check (only_row),
  whole_from bigint not null default 0 check (whole_from >= 0)
);
insert into rouse_retention default values;

-- One row per archive: every event from first_position to last_position, in a file. They follow each other without a hole and never
-- overlap. removed_to: up to here the file's events are gone from the log, but for those that stay as the last of their streams;
-- first_position - 1: none is gone, because the removal has not begun, or they were restored. sha256: of the lines behind the file's first,
-- uncompressed. streams: a filter of the streams that may be in it, so that it can be said which archives hold one that is gone.
create table rouse_archives (
  first_position bigint primary key check (first_position >= 1),
  last_position  bigint not null check (last_position >= first_position),
  events         bigint not null check (events >= 0),
  sha256         bytea not null check (length(sha256) = 32),
  path           text not null,
  streams        bytea not null,
  removed_to     bigint not null,
  created_at     timestamptz not null default clock_timestamp(),
  check (removed_to between first_position - 1 and last_position)
);

-- What was erased of a stream, so that a restore does not bring it back. stream: the sha256 of its type and id, which are not kept.
-- up_to: of its events up to this position. payload: what took the place of theirs; null: the events were deleted, but for the last.
create table rouse_erasures (
  stream  bytea not null check (length(stream) = 32),
  up_to   bigint not null,
  payload json,
  last    bigint not null, -- the position that was kept of events that were deleted
  at      timestamptz not null default clock_timestamp(),
  primary key (stream, up_to)
);

-- Refuses a checkpoint behind which events are missing, whoever makes it or sets it back. It runs with its owner's rights, because a role
-- that works may not change rouse_retention, which the lock asks for; it looks into the schema of its table alone.
create function rouse_keep_whole() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  whole  bigint;
  places text;
begin
  if tg_table_name <> 'projection_checkpoints' then
    raise exception 'rouse_keep_whole belongs to the table projection_checkpoints, and not to %', tg_table_name
      using errcode = 'object_not_in_prerequisite_state';
  end if;
  execute format('select whole_from from %I.rouse_retention for share', tg_table_schema) into whole;
  if new.last_global_position < whole then
    execute format('select string_agg(distinct coalesce(nullif(regexp_replace(path, ''/?[^/]*$'', ''''), ''''), path), '', '')
                    from %I.rouse_archives where removed_to > $1', tg_table_schema)
      into places using new.last_global_position;
    raise exception 'the log lacks events up to position %, and % would begin behind %: they were archived in %',
      whole, new.projection_name, new.last_global_position, coalesce(places, 'no place that is known')
      using errcode = 'ROARC', hint = format('Put them back with rouse archive restore, or begin behind position %s.', whole);
  end if;
  return null;
end $$;
revoke execute on function rouse_keep_whole() from public;

-- AFTER ROW, so that a save, which is an insert that never inserts, does not call the first, and the second only compares.
create trigger rouse_keep_whole_made after insert on projection_checkpoints
  for each row execute function rouse_keep_whole();
create trigger rouse_keep_whole_back after update on projection_checkpoints
  for each row when (new.last_global_position < old.last_global_position) execute function rouse_keep_whole();
