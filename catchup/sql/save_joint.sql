-- The save of several projections in one transaction, in which the statements of their handlers have run: with the tests of save.sql for
-- each row, all of which must hold.
-- $1: projections; $2: instance; $3: token; $4: partitions; $5: their epochs; $6: their floors; $7: the new positions; $8: the events
-- at them, or nulls; arrays in parallel, one element for each checkpoint.
-- $9: the name of the transaction; $10: how long to wait for rows that another session holds; as in save.sql.
-- $11: which of the new versions are to be large ones, and $12: where the rows were last; nulls, or null: as in save_at.sql.
-- $13 and $14: role and search_path that the transaction was begun with. Where they are others, or the session has temporary tables, it
-- raises invalid_text_representation as for another transaction: what one projection has made of the session was there for the next.
-- Releases the locks of the session that a handler has left behind; returns the numbers of the elements, and where the row of each is now.
-- Lock: the rows, in the order of projections and partitions, so that two saves cannot deadlock. Index: the primary key, where a spot is
-- null or wrong.
with bound as materialized (
  select current_setting('lock_timeout') as was, set_config('lock_timeout', $10::text, true) as is
), found as materialized (
  select f.*, coalesce(
    (select c.ctid from rouse.projection_checkpoints c where c.ctid = f.spot and c.projection_name = f.projection and c.partition = f.partition),
    (select c.ctid from rouse.projection_checkpoints c where c.projection_name = f.projection and c.partition = f.partition)) as at
  from unnest($1::text[], $4::int[], $5::bigint[], $6::bigint[], $7::bigint[], $8::text[], $11::bool[], $12::tid[])
    with ordinality as f (projection, partition, epoch, floor, goal, event, large, spot, number)
), mine as materialized (
  select c.ctid as at, f.projection, f.partition, f.goal, f.event, f.large, f.number
  from found f
  join rouse.projection_checkpoints c on c.ctid = f.at and c.projection_name = f.projection and c.partition = f.partition
  where c.owner = $2::text::uuid and c.epoch = f.epoch and c.last_global_position = f.floor
    and (select b.is from bound b) is not null
  order by c.projection_name, c.partition
  for no key update of c
), saved as (
  update rouse.projection_checkpoints c
  set last_global_position = mine.goal, event_id = mine.event::uuid, event_position = mine.goal, updated_at = clock_timestamp(),
      room = case when mine.large then repeat(' ', 2100) end
  from mine
  where c.ctid = mine.at and c.projection_name = mine.projection and c.partition = mine.partition
    and exists (select from rouse.rouse_incarnation where rouse.rouse_incarnation_now(token) = $3::text)
  returning mine.number, c.ctid as spot
)
select 1 / (count(*) = cardinality($4::int[]))::int,
       case when current_setting('rouse.work', true) is distinct from $9::text or current_setting('role') <> $13::text
              or current_setting('search_path') <> $14::text or pg_my_temp_schema() <> 0
            then (coalesce(current_setting('rouse.work', true), '') || ' is not the transaction that was begun')::int end,
       set_config('lock_timeout', (select was from bound), true), pg_advisory_unlock_all()::text,
       array_agg(number), array_agg(spot)
from saved
