-- Gives this incarnation of the database a token where crash recovery or a promotion has taken the last one away, and
-- notes when that was found: for a while after that, rouse_members counts a worker as alive although its sessions are
-- gone.
-- Lock: ROW EXCLUSIVE on one unlogged row and on one other.
with made as (
  insert into rouse.rouse_incarnation (token) values (gen_random_uuid()) on conflict do nothing returning 1
)
update rouse.rouse_restart set at = clock_timestamp() where exists (select from made)
