-- A log as it is made first: a table, and a trigger that notifies on every insert. The channel carries the table's oid, because
-- schemas share channels. Run once, by the simple protocol.
create table log (id bigint generated always as identity primary key, aggregate_id text not null, payload json not null);
create table checkpoint (last bigint not null);
insert into checkpoint values (0);
create function log_notify() returns trigger language plpgsql as
$$ begin perform pg_notify('log_' || tg_relid, ''); return null; end $$;
create trigger log_notify after insert on log for each statement execute function log_notify();
