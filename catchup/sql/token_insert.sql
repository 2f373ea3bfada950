-- Gives this incarnation of the database a token where crash recovery or a promotion has taken the last one away, and writes
-- down when that was found (rouse_members is patient with everybody for a while after that).
-- Lock: ROW EXCLUSIVE on one unlogged row and on one other.
with made as (
  insert into rouse_incarnation (token) values (gen_random_uuid()) on conflict do nothing returning 1
)
update rouse_restart set at = clock_timestamp() where exists (select from made)
