-- The save of a single partition, the common case in a calm log: as save.sql, with the same tests, and cheap to plan
-- and to run.
-- $1: projection; $2: instance; $3: token; $4: partition; $5: its epoch; $6: its floor; $7: the new position.
-- $8: the event at the new position; $9: the name of the transaction; $10: how long to wait for the row; as in save.sql.
-- $11: whether the new version of the row is to be a large one. $12: whether to return the spot. Returns as save.sql.
-- Lock: the row. Index: the primary key.
with bound as materialized (
  select current_setting('lock_timeout') as was, set_config('lock_timeout', $10::text, true) as is
), saved as (
  update rouse.projection_checkpoints
  set last_global_position = $7, event_id = $8::text::uuid, event_position = $7, updated_at = clock_timestamp(),
      room = case when $11::bool then repeat(' ', 2100) end
  where projection_name = $1 and partition = $4 and owner = $2::text::uuid and epoch = $5 and last_global_position = $6
    and exists (select from rouse.rouse_incarnation where rouse.rouse_incarnation_now(token) = $3::text)
    and (select b.is from bound b) is not null
  returning ctid as spot
)
select 1 / coalesce((select 1 from saved), 0),
       case when $9::text is not null and current_setting('rouse.work', true) is distinct from $9::text
            then (coalesce(current_setting('rouse.work', true), '') || ' is not the transaction that was begun')::int end,
       current_setting('role'), current_setting('search_path'),
       pg_my_temp_schema() <> 0, set_config('lock_timeout', (select was from bound), true), pg_advisory_unlock_all()::text,
       case when $12::bool then array(select spot from saved) end
