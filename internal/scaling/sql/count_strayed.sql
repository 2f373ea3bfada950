-- Counts the events of one batch as count.sql does, where some have not followed the one before, which the number of events cannot tell
-- of. One array element per aggregate, in an order that all batches have: $1 types; $2 ids; $3 numbers of events; $4 the version of the
-- first and $5 of the last of them; $6 how many of them did not follow the one before in the batch. $7: label of the worker.
-- The predecessor of the first event is read before its row is overwritten. No other session can write these rows in
-- between: the fence lets one handler of a partition commit, and all that were committed before it claimed the
-- partition are visible to it.
-- Index: the primary key, two probes per aggregate (a subquery and no join, so that no estimate can turn it into a
-- scan).
-- Lock: the rows, in the order in which they come, so that two statements over the same aggregates cannot deadlock.
with batch as materialized (
  select b.aggregate_type, b.aggregate_id, b.events, b.first_version, b.last_version, b.out_of_order,
         coalesce((select s.last_version from scaling_activity s
                   where s.aggregate_type = b.aggregate_type and s.aggregate_id = b.aggregate_id), 0) as before
  from unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
    as b (aggregate_type, aggregate_id, events, first_version, last_version, out_of_order)
)
insert into scaling_activity as s (aggregate_type, aggregate_id, events, last_version, out_of_order, worker_id)
select aggregate_type, aggregate_id, events, last_version, out_of_order + (first_version <> before + 1)::int, $7::text
from batch
on conflict (aggregate_type, aggregate_id) do update
set events = s.events + excluded.events, last_version = excluded.last_version,
    out_of_order = s.out_of_order + excluded.out_of_order, worker_id = excluded.worker_id
