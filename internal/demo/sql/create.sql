-- The read model of demo_log: one row for every time that an event was handled, n in the order of handling. Nothing has to be
-- unique, so that an event that was handled twice has two rows. The indexes are for watching: what a worker has handled since
-- the last look, and what was handled in the last seconds. One on n alone would be taken for the first, and be read through
-- for a worker that has handled nothing for long.
create table if not exists demo_log (
  n                 bigint generated always as identity,
  global_position   bigint not null,
  event_id          uuid not null,
  aggregate_type    text not null,
  aggregate_id      text not null,
  aggregate_version bigint not null,
  worker            text not null,
  appended_at       timestamptz not null,
  handled_at        timestamptz not null default clock_timestamp()
);
create index if not exists demo_log_worker_n on demo_log (worker, n);
create index if not exists demo_log_handled_at on demo_log (handled_at);
