-- 0010 due: an event that fails is set aside at once, with a time at which it is tried again.
-- oldest binary that works on it: 2
-- locks: parked_events
--
-- Takes ACCESS EXCLUSIVE on parked_events for a moment; nothing is rewritten. Binaries before version 10 go on working: what they
-- park has no time and waits for people, and the requests that they write into retry_requested_at are taken over by the next
-- owner of this version.
--
-- due_at: when the aggregate is tried again, on the first of its rows alone. The first row without it: the aggregate waits for
-- people. tries: how often the event was tried since it was set aside, or since somebody has asked for it; attempts goes on
-- counting over that. died: the last so many of these tries from which no handler has returned.
alter table parked_events
  add column due_at timestamptz,
  add column tries int not null default 0,
  add column died int not null default 0;
create index parked_events_due on parked_events (projection_name, due_at) where due_at is not null;

-- Where somebody has asked for a retry, the aggregate is due since then.
update parked_events p set due_at = r.asked_at
from (select projection_name, min(global_position) as head, min(retry_requested_at) as asked_at
      from parked_events group by projection_name, aggregate_type, aggregate_id) r
where p.projection_name = r.projection_name and p.global_position = r.head and r.asked_at is not null;
