-- Adds one event to the counts. $1: its aggregate's id. Index: the primary key. Lock: the row.
insert into bench_counts as c values ($1, 1) on conflict (aggregate_id) do update set events = c.events + 1
