-- Writes one row for every event of a batch. One array element per event: $1 positions, $2 ids, $3 types and $4 ids of the
-- aggregates, $5 their versions, $6 when each was inserted. $7: label of the worker.
-- The order of the arrays decides n, which is given out to the rows as they leave the sort.
-- Lock: none beyond the new rows.
insert into demo_log (global_position, event_id, aggregate_type, aggregate_id, aggregate_version, appended_at, worker)
select b.global_position, b.event_id, b.aggregate_type, b.aggregate_id, b.aggregate_version, b.appended_at, $7::text
from unnest($1::bigint[], $2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::timestamptz[])
  with ordinality as b (global_position, event_id, aggregate_type, aggregate_id, aggregate_version, appended_at, at)
order by b.at
