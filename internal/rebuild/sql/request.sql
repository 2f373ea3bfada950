-- Makes a shadow of a projection, with as many checkpoints, and tells the members. Returns whether there is such a projection, which
-- version of it is live, whether the position is in the log, and whether the shadow was made, which it is not where there is one.
-- $1: the projection; $2: the shadow; $3: its version, 0: the live one; $4: the position behind which it begins, below 0: where the
-- projection began; $5: whether it
-- takes the place by itself; $6: the schema of the log, or ''. Lock: the projection's row. Index: the primary keys.
with p as materialized (
  select partitions, version, case when $4::bigint < 0 then starts_behind else $4::bigint end as behind
  from rouse.projections where projection_name = $1 and shadow_of is null for no key update
), log as (
  select $4::bigint <= coalesce((select max(global_position) from rouse.events), 0) as has
), made as (
  insert into rouse.projections (projection_name, partitions, version, shadow_of, shadow_from, starts_behind, shadow_swap)
  select $2, partitions, case $3::int when 0 then version else $3::int end, $1, behind, behind, $5 from p, log where log.has
  on conflict do nothing
  returning partitions, shadow_from
), checkpoints as (
  insert into rouse.projection_checkpoints (projection_name, partition, last_global_position)
  select $2, n, shadow_from from made, generate_series(0, partitions - 1) as n
)
select exists (select from p), coalesce((select version from p), 0), (select has from log), exists (select from made),
       (select pg_notify('rouse_' || to_regclass(case when $6::text = '' then 'events' else format('%I.events', $6::text) end)::oid || '_members', '')::text
        from made)
