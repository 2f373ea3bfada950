-- Gives this incarnation of the database a token where crash recovery or a promotion has taken the last one away.
-- Lock: ROW EXCLUSIVE on one unlogged row.
insert into rouse_incarnation (token) values (gen_random_uuid()) on conflict do nothing
