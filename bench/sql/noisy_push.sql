-- The push that everybody writes first, to compare with: a NOTIFY on every commit. Off until its rounds.
create function noisy_push() returns trigger language plpgsql as
$$ begin perform pg_notify('rouse_' || tg_relid, ''); return null; end $$;
create trigger noisy_push after insert on events for each statement execute function noisy_push();
alter table events disable trigger noisy_push;
