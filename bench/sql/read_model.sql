-- What the measured projection keeps: a count for each aggregate.
create table bench_counts (aggregate_id text primary key, events bigint not null) with (fillfactor = 70);
