-- The floor of latency: a plain table with a trigger that always notifies. The channel carries the table's oid, so that two
-- benchmarks in one database do not wake each other. Run once, by the simple protocol.
create table floor_log (id bigint generated always as identity primary key, aggregate_id text not null, payload json not null);
create function floor_notify() returns trigger language plpgsql as
$$ begin perform pg_notify('rouse_floor_' || tg_relid, ''); return null; end $$;
create trigger floor_notify after insert on floor_log for each statement execute function floor_notify();
