-- A plain table with the columns and the unique keys of the log, to compare appends with: no triggers, no checks, and nothing that is
-- computed. Run once, by the simple protocol.
create table plain_log (
  global_position   bigint generated always as identity primary key,
  event_id          uuid not null default gen_random_uuid() unique,
  aggregate_type    text not null,
  aggregate_id      text not null,
  aggregate_version bigint not null,
  event_type        text not null,
  event_version     int not null default 1,
  payload           json not null,
  metadata          json not null default '{}',
  slot              smallint not null default 0,
  created_at        timestamptz not null default clock_timestamp(),
  unique (aggregate_type, aggregate_id, aggregate_version)
);
