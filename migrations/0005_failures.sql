-- 0005 failures: what must outlive a failed transaction and a dead process, so that no event is tried for ever.
-- oldest binary that works on it: 2

-- Events that failed, or that a process was handling when it died, and how often they were tried. Written outside the
-- transaction that fails; gone with the one that succeeds, or when the event is parked or skipped.
create table event_attempts (
  projection_name text not null references projections on delete cascade,
  global_position bigint not null,
  slot            smallint not null,
  attempts        int not null check (attempts >= 0),
  last_error      text not null default '',
  skip            boolean not null default false, -- somebody wants it passed over
  attempted_at    timestamptz not null default clock_timestamp(),
  primary key (projection_name, global_position)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- The slot instead of the partition, which changes with their number. No binary has written to this table so far.
-- retry_requested_at: somebody wants the aggregate's events handled again, in order.
alter table parked_events drop column partition;
alter table parked_events
  add column slot smallint not null,
  add column event_type text not null,
  add column retry_requested_at timestamptz;
create index parked_events_retry on parked_events (projection_name) where retry_requested_at is not null;

-- reset_to: somebody wants the projection to start over behind this position; null: nobody does. The next worker that runs it
-- does so. reset_force: also where it cannot empty its read model. reset_error: why the last request was refused.
alter table projections
  add column reset_to bigint check (reset_to >= 0),
  add column reset_force boolean not null default false,
  add column reset_error text;
