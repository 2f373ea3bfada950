-- The read model of every side: a count for each aggregate. Run once in each schema, by the simple protocol. Pages are left
-- part empty, so that updates stay on their page.
create table counts (aggregate_id text primary key, events bigint not null) with (fillfactor = 70)
