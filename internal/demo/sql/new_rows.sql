-- Counts what each worker has handled since the last look. $1: labels; $2: the last n seen of each, in the same order.
-- A worker's transactions commit one after the other, so its n only rise; those of several workers do not commit in order,
-- which is why each has a mark of its own.
-- Returns, for each label: how many rows there are after the mark, and the new mark. Index: demo_log_worker_n, one range each.
select m.worker, r.rows, greatest(r.last, m.n)
from unnest($1::text[], $2::bigint[]) as m (worker, n),
  lateral (select count(*) as rows, max(l.n) as last from demo_log l where l.worker = m.worker and l.n > m.n) r
