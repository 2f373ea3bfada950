-- The save of several projections in one transaction, in which the statements of their handlers have run: with the tests of save.sql for
-- each row, all of which must hold.
-- $1: projections; $2: instance; $3: token; $4: partitions; $5: their epochs; $6: their floors; $7: the new positions; $8: the events
-- at them, or nulls; arrays in parallel, one element for each checkpoint, rising by projection and partition.
-- $9: the name of the transaction; $10: how long to wait for rows that another session holds; as in save.sql.
-- $11: which of the new versions are to be large ones, or null; $12: whether to return the spots; as in save.sql.
-- $13 and $14: role and search_path that the transaction was begun with. Where they are others, or the session has temporary tables, it
-- raises invalid_text_representation as for another transaction: what one projection has made of the session was there for the next.
-- Releases the locks of the session that a handler has left behind; returns where the row of each element is now, or null.
-- It is an insert that never inserts, as save.sql is.
-- Lock: the rows, in the order in which they are given, so that two saves cannot deadlock. Index: the primary key.
with bound as materialized (
  select current_setting('lock_timeout') as was, set_config('lock_timeout', $10::text, true) as is
), saved as (
  insert into rouse.projection_checkpoints as c (projection_name, partition, epoch, last_global_position, event_id, event_position, room)
  select f.projection, f.partition, f.epoch, f.floor, f.event::uuid, f.goal, case when f.large then repeat(' ', 2100) end
  from (select unnest($1::text[]) as projection, unnest($4::int[]) as partition, unnest($5::bigint[]) as epoch, unnest($6::bigint[]) as floor,
               unnest($7::bigint[]) as goal, unnest($8::text[]) as event, unnest($11::bool[]) as large) f
  where (select b.is from bound b) is not null
    and exists (select from rouse.rouse_incarnation where rouse.rouse_incarnation_now(token) = $3::text)
  on conflict (projection_name, partition) do update
  set last_global_position = excluded.event_position, event_id = excluded.event_id, event_position = excluded.event_position,
      updated_at = clock_timestamp(), room = excluded.room
  where c.owner = $2::text::uuid and c.epoch = excluded.epoch and c.last_global_position = excluded.last_global_position
  returning c.owner, c.projection_name, c.partition, c.ctid as spot
)
select 1 / (count(owner) = cardinality($4::int[]))::int,
       case when current_setting('rouse.work', true) is distinct from $9::text or current_setting('role') <> $13::text
              or current_setting('search_path') <> $14::text or pg_my_temp_schema() <> 0
            then (coalesce(current_setting('rouse.work', true), '') || ' is not the transaction that was begun')::int end,
       set_config('lock_timeout', (select was from bound), true), pg_advisory_unlock_all()::text,
       array_agg(spot order by projection_name collate "C", partition) filter (where $12::bool)
from saved
