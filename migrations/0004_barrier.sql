-- 0004 barrier: where the owners of a projection's partitions wait for each other, so that partitions can be joined.
-- oldest binary that works on it: 2
--
-- A worker of an older binary does not stop at a barrier, so partitions that it owns come to be joined by luck only; and
-- nobody should change the number of partitions while one runs.

-- barrier: the position beyond which nothing is handled for now; null: there is none. It holds until barrier_until, by the
-- clock of the database, and whoever set it, barrier_holder, renews it: one that died holds nobody up for long.
alter table projections
  add column barrier bigint check (barrier >= 0),
  add column barrier_holder uuid,
  add column barrier_until timestamptz,
  add check (num_nulls(barrier, barrier_holder, barrier_until) in (0, 3));
