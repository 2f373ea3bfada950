-- Counts events. $1: aggregate ids, each once; $2: how many events of each. Index: the primary key. Lock: the rows.
insert into counts as c select * from unnest($1::text[], $2::bigint[])
on conflict (aggregate_id) do update set events = c.events + excluded.events
