-- 0011 wishes: what somebody wants of a projection, and what has become of it, in columns of their own.
-- oldest binary that works on it: 2
-- locks: projections
--
-- Takes ACCESS EXCLUSIVE on projections for a moment; nothing is rewritten. Earlier binaries leave the columns at what they
-- are, and go on to see by state alone whether a projection is paused.

-- state is what is wanted: running or paused. stopped_at: when the projection was stopped; null: it was not, or was taken up again.
-- Where running is wanted and the projection is stopped, state is stopped, as earlier binaries have it; it is without a
-- stopped_at where one of them stopped it, and a stopped_at says nothing where one of them took it up again (state running).
alter table projections add column stopped_at timestamptz;

-- reset_tries: how often the reset that is wanted was tried and failed, for which reset_error says why the last time; reset_due_at:
-- when to try it next; null: at once. reset_error is not null either before the reset was tried, and null once it is done.
alter table projections
  add column reset_tries int not null default 0 check (reset_tries >= 0),
  add column reset_due_at timestamptz;
