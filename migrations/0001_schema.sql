-- 0001 schema: the log of events and the tables that projections keep their place in.
-- oldest binary that works on it: 1
--
-- Unqualified names: search_path picks the schema. Columns may be added to any of these tables; the ones here must stay.

do $$
begin
  if getdatabaseencoding() <> 'UTF8' then
    raise exception 'the encoding of this database is %, and Rouse needs UTF8', getdatabaseencoding()
      using hint = 'Create the database with: create database NAME encoding ''UTF8'' template template0';
  end if;
end $$;

-- The log. payload is json and not jsonb because a reader pays twice as much for jsonb. slot is stored, so that SQL and
-- every reader agree on it; its bits choose the partition, for any power of two up to 1024 partitions. The identity is
-- GENERATED ALWAYS, because a position taken by a client with nextval() is a position that no appender answers for.
create table events (
  global_position   bigint generated always as identity primary key,
  event_id          uuid not null default gen_random_uuid() unique,
  aggregate_type    text not null check (aggregate_type <> ''),
  aggregate_id      text not null check (aggregate_id <> ''),
  aggregate_version bigint not null check (aggregate_version >= 1),
  event_type        text not null check (event_type <> ''),
  event_version     int not null default 1 check (event_version >= 1),
  payload           json not null,
  metadata          json not null default '{}',
  slot              smallint not null
                    generated always as ((hashtextextended(aggregate_id collate "C", 0) & 1023)::smallint) stored,
  created_at        timestamptz not null default clock_timestamp(),
  unique (aggregate_type, aggregate_id, aggregate_version)
);

-- One row per projection. The number of partitions is fixed here, once, so that no two processes can disagree on it.
create table projections (
  projection_name text primary key check (projection_name <> ''),
  partitions      int not null check (partitions between 1 and 1024 and partitions & (partitions - 1) = 0),
  state           text not null default 'running' check (state in ('running', 'paused', 'stopped')),
  last_error      text,
  error_position  bigint,
  error_at        timestamptz,
  created_at      timestamptz not null default clock_timestamp()
);

-- One row per partition of a projection: how far it has come, who may move it, and the number that rises each time it
-- changes hands. Small rows under many small updates: half-filled pages keep the updates on their page (HOT), and
-- autovacuum comes by count, not by share of the table.
create table projection_checkpoints (
  projection_name      text not null references projections on delete cascade,
  partition            int not null check (partition >= 0),
  last_global_position bigint not null default 0 check (last_global_position >= 0),
  owner                uuid,
  epoch                bigint not null default 0,
  updated_at           timestamptz not null default clock_timestamp(),
  primary key (projection_name, partition)
) with (
  fillfactor = 50,
  autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
  autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 20000,
  autovacuum_vacuum_cost_delay = 0
);

-- One row per running process, under an id that is fresh at every start. presence is the key of a session-level advisory
-- lock that the process holds while it lives, or null where it can hold none (behind a transaction pooler).
create table projection_workers (
  instance_id       uuid primary key,
  label             text not null,
  assignment        text not null check (assignment in ('static', 'elastic')),
  worker_index      int,
  total_workers     int,
  presence          int,
  host              text not null default '',
  pid               int not null default 0,
  mode              text not null default 'polling',
  states            jsonb not null default '{}',
  events_handled    bigint not null default 0,
  events_per_second real not null default 0,
  last_wake_at      timestamptz,
  started_at        timestamptz not null default clock_timestamp(),
  heartbeat_at      timestamptz not null default clock_timestamp()
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

-- Events set aside because their handler failed, and the later events of the same aggregates behind them.
create table parked_events (
  projection_name   text not null references projections on delete cascade,
  global_position   bigint not null,
  partition         int not null,
  event_id          uuid not null,
  aggregate_type    text not null,
  aggregate_id      text not null,
  aggregate_version bigint not null,
  attempts          int not null default 0,
  last_error        text not null default '',
  parked_at         timestamptz not null default clock_timestamp(),
  primary key (projection_name, global_position)
);
create index on parked_events (projection_name, aggregate_type, aggregate_id, global_position);

-- The incarnation of this database. Crash recovery and the promotion of a standby empty an unlogged table, a clean restart
-- keeps it: exactly the difference between "what I remember is still true" and "it may not be". Whoever finds it empty
-- puts a new token in.
create unlogged table rouse_incarnation (
  only_row boolean primary key default true check (only_row),
  token    uuid not null
);
