-- The save of rows that move from page to page because somebody holds a snapshot: as save.sql, with the same tests and the same
-- parameters, and $12: where the row of each partition was last, or null. It always returns the spots.
-- A row is looked for at its spot, and by its key where it is not there any more: the key leads to every dead version of the row, and
-- the spot to the living one. Whether it is the row is tested by the key either way.
-- Each row is looked up by itself, in a subquery that locks, and so that no plan can join the batch with the table.
-- Lock: the rows, in the order in which they are given, which is that of partitions. Index: none; the primary key where a spot is null
-- or wrong.
with bound as materialized (
  select current_setting('lock_timeout') as was, set_config('lock_timeout', $10::text, true) as is
), found as materialized (
  select f.partition, f.epoch, f.floor, f.large, coalesce(
    (select c.ctid from rouse.projection_checkpoints c where c.ctid = f.spot and c.projection_name = $1 and c.partition = f.partition),
    (select c.ctid from rouse.projection_checkpoints c where c.projection_name = $1 and c.partition = f.partition)) as spot
  from unnest($4::int[], $5::bigint[], $6::bigint[], $12::tid[], $11::bool[]) as f (partition, epoch, floor, spot, large)
), mine as materialized (
  select f.partition, f.large, c.spot
  from found f
  cross join lateral (
    select c.ctid as spot
    from rouse.projection_checkpoints c
    where c.ctid = f.spot and c.projection_name = $1 and c.partition = f.partition
      and c.owner = $2::text::uuid and c.epoch = f.epoch and c.last_global_position = f.floor
    for no key update of c
  ) c
  where (select b.is from bound b) is not null
), saved as (
  update rouse.projection_checkpoints c
  set last_global_position = $7, event_id = $8::text::uuid, event_position = $7, updated_at = clock_timestamp(),
      room = case when mine.large then repeat(' ', 2100) end
  from mine
  where c.ctid = mine.spot and c.projection_name = $1 and c.partition = mine.partition
    and exists (select from rouse.rouse_incarnation where rouse.rouse_incarnation_now(token) = $3::text)
  returning c.partition, c.ctid as spot
)
select 1 / (count(*) = cardinality($4::int[]))::int,
       case when $9::text is not null and current_setting('rouse.work', true) is distinct from $9::text
            then (coalesce(current_setting('rouse.work', true), '') || ' is not the transaction that was begun')::int end,
       current_setting('role'), current_setting('search_path'),
       pg_my_temp_schema() <> 0, set_config('lock_timeout', (select was from bound), true), pg_advisory_unlock_all()::text,
       array_agg(spot order by partition)
from saved
