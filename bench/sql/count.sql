-- Adds a batch to the counts. $1: aggregate ids; $2: how many events of each.
insert into bench_counts as c select * from unnest($1::text[], $2::bigint[])
on conflict (aggregate_id) do update set events = c.events + excluded.events
