-- The same for a batch of events, in their order. The last version of an aggregate is that of the row that comes last, not
-- the greatest, so that a wrong order shows.
-- $1: aggregates; $2: versions; $3: positions, one each per event; $4: worker.
with given as (
  select * from unnest($1::text[], $2::bigint[], $3::bigint[]) with ordinality as g (aggregate, version, position, place)
), written as (
  insert into handled (aggregate, version, position, worker)
  select aggregate, version, position, $4 from given order by place
)
insert into totals as t (aggregate, events, last_version)
select aggregate, count(*), (array_agg(version order by place desc))[1] from given group by aggregate
on conflict (aggregate) do update set events = t.events + excluded.events, last_version = excluded.last_version
