-- What the benchmarks keep beside the log. Run once, in the schema of one benchmark, by the simple protocol.
-- The read model of the measured projections and of their floors: a count for each aggregate. Pages are left part empty, so
-- that updates stay on their page.
create table bench_counts (aggregate_id text primary key, events bigint not null) with (fillfactor = 70);

-- Where a hand-written loop keeps how far it has come.
create table floor_checkpoint (only_row bool primary key default true, last bigint not null default 0);
insert into floor_checkpoint default values;
