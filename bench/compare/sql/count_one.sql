-- Counts one event. $1: its aggregate's id. Index: the primary key. Lock: the row.
insert into counts as c values ($1, 1) on conflict (aggregate_id) do update set events = c.events + 1
