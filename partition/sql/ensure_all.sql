-- Creates those of some projections that do not exist, each with all of its checkpoints. It waits only for others that create the
-- same ones; the order of names keeps two from waiting for each other.
-- $1: the names; then an element for each: $2: the number of partitions; $3: the position behind which it begins; $4: whether the
-- events behind that which this statement sees are to be passed over, each of which gets a row that says so. What is committed later is not
-- seen, at whatever position it stands. Index: the primary key of events, from the position on.
with asked as materialized (
  select * from unnest($1::text[], $2::int[], $3::bigint[], $4::bool[]) as a (name, partitions, behind, unseen)
), made as (
  insert into rouse.projections (projection_name, partitions, starts_behind)
  select name, partitions, behind from asked order by name collate "C"
  on conflict do nothing
  returning projection_name, partitions, starts_behind
), before as (
  insert into rouse.event_attempts (projection_name, global_position, slot, attempts, skip, before_start)
  select m.projection_name, e.global_position, e.slot, 0, true, true
  from made m join asked a on a.name = m.projection_name and a.unseen
  cross join lateral (select global_position, slot from rouse.events where global_position > a.behind order by global_position limit 100000) e
)
insert into rouse.projection_checkpoints (projection_name, partition, last_global_position)
select projection_name, n, starts_behind from made, generate_series(0, partitions - 1) as n
