-- The push that everybody writes first, to compare with: a NOTIFY on every commit, on the channel that a worker listens to.
-- Off until its rounds. Run once, by the simple protocol.
create function notify_always() returns trigger language plpgsql as
$$ begin perform pg_notify('rouse_' || tg_relid, ''); return null; end $$;
create trigger notify_always after insert on events for each statement execute function notify_always();
alter table events disable trigger notify_always;
