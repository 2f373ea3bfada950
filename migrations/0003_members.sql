-- 0003 members: what workers that share partitions must know of each other, and who counts as alive, in one place.
-- oldest binary that works on it: 2

-- lease_ttl_ms: how old a heartbeat may be before its worker counts as dead. max_partitions: the most partitions of one
-- projection that it takes; null: any number. leaving: it is stopping, and others may plan without it. avoids: the partitions
-- of each projection that it cannot take, because a handler of theirs has not come back.
alter table projection_workers
  add column lease_ttl_ms int not null default 10000 check (lease_ttl_ms > 0),
  add column max_partitions int check (max_partitions > 0),
  add column leaving boolean not null default false,
  add column avoids jsonb not null default '{}';

-- When an incarnation of this database was last found to be new, which is when everybody had lost their sessions. A table of
-- its own, because rouse_incarnation is unlogged and so cannot be read on a standby. The first incarnation is no restart.
create table rouse_restart (
  only_row boolean primary key default true check (only_row),
  at       timestamptz not null
);
insert into rouse_restart (at) values ('-infinity');
insert into rouse_incarnation (token) values (gen_random_uuid()) on conflict do nothing;

-- Every worker, and whether it counts as alive: it has sent a heartbeat within its time, and if it holds a presence lock at
-- all (two integers: 'rouP' and a key of its own, shared by two sessions of the process), somebody holds it now. A killed
-- process loses its sessions at once, a frozen or cut-off one stops sending heartbeats.
-- After a restart of the server, everybody has lost sessions and missed heartbeats without being dead. So whoever spoke in
-- the last ten minutes gets its time once more, from the restart on, to speak again.
create view rouse_members as
with held as materialized (
  select l.objid from pg_locks l
  where l.locktype = 'advisory' and l.objsubid = 2 and l.classid = 1919907152 and l.granted
    and l.database = (select oid from pg_database where datname = current_database())
), restart as materialized (
  select greatest(pg_postmaster_start_time(), (select at from rouse_restart)) as at
)
select w.instance_id, w.assignment, w.max_partitions, w.leaving, w.avoids, w.presence, w.states, w.started_at,
       w.heartbeat_at > clock_timestamp() - ttl.value and (w.presence is null or w.presence::oid in (select objid from held))
       or restart.at > clock_timestamp() - ttl.value and w.heartbeat_at > restart.at - interval '10 minutes' as alive
from projection_workers w, restart, lateral (select interval '1 millisecond' * w.lease_ttl_ms as value) ttl;
