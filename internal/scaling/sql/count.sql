-- Counts the events of one batch in which all events of an aggregate have followed each other. One array element per aggregate, in an
-- order that all batches have: $1 types; $2 ids; $3 numbers of events; $4 the version of the last of them. $5: label of the worker.
-- The version before the first of them is the last one less their number, which the row that is found has to have; a new row, 0. So the
-- aggregate is looked up once.
-- Index: the primary key, one probe per aggregate.
-- Lock: the rows, in the order in which they come, so that two statements over the same aggregates cannot deadlock.
insert into scaling_activity as s (aggregate_type, aggregate_id, events, last_version, out_of_order, worker_id)
select b.aggregate_type, b.aggregate_id, b.events, b.last_version, (b.last_version <> b.events)::int, $5::text
from unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]) as b (aggregate_type, aggregate_id, events, last_version)
on conflict (aggregate_type, aggregate_id) do update
set events = s.events + excluded.events, last_version = excluded.last_version,
    out_of_order = s.out_of_order + (excluded.last_version - excluded.events <> s.last_version)::int, worker_id = excluded.worker_id
