-- The floor of latency: a plain table with a trigger that always notifies, and what a hand-written worker would keep.
create table floor_log (id bigint generated always as identity primary key, aggregate_id text not null, payload json not null);
create table floor_checkpoint (only_row bool primary key default true, last bigint not null default 0);
insert into floor_checkpoint default values;
create function floor_notify() returns trigger language plpgsql as $$ begin perform pg_notify('floor', ''); return null; end $$;
create trigger floor_notify after insert on floor_log for each statement execute function floor_notify();
