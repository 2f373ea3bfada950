-- The token of this incarnation, and the first position at which another event stands than was handled; nulls where there is none.
-- The token is read with it: a connection to a server that the name has left knows another history.
-- $1: positions; $2: the id of the event of each. Index: the primary key of events.
select (select rouse.rouse_incarnation_now(token) from rouse.rouse_incarnation), m.position, m.event, m.stands
from (select) one left join lateral (
  select m.position, m.event, e.event_id::text as stands
  from unnest($1::bigint[], $2::text[]) as m (position, event) join rouse.events e on e.global_position = m.position
  where e.event_id::text <> m.event
  order by m.position limit 1
) m on true
