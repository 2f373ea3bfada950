-- Lets a test decide when what was set aside is tried again: its clock stands, while DB.Drain runs and between two of them, and goes on by
-- what DB.Advance says. stands_at is where it stands, null: it has not been stopped. While held is true, what is to be tried later than that is held: its
-- time is a hundred years later, so that no worker comes to it by itself, however slow the machine is. That goes for each event that has
-- just failed, also if its pause is over by the time that this is called.
-- Runs once, in the template. Lock: parked_events, for the trigger.
create schema rousetest;
create table rousetest.clock (held boolean not null, stands_at timestamptz);
insert into rousetest.clock values (false, null);

create function rousetest.hold() returns trigger language plpgsql as $$
declare
  pause interval := new.due_at - clock_timestamp();
  failed bool := new.retry_requested_at is null;
begin
  if failed and tg_op = 'UPDATE' then -- a try is written down before it is made, and what has failed keeps it
    failed := old.died > 0 and new.died = 0 and new.tries = old.tries;
  end if;
  if (failed or pause > interval '0') and pause < interval '50 years' and (select held from rousetest.clock) then
    new.due_at := (select stands_at from rousetest.clock) + greatest(pause, interval '1 microsecond') + interval '100 years';
  end if;
  return new;
end $$;
create trigger rousetest_hold before insert or update of due_at on parked_events
  for each row execute function rousetest.hold();
