-- The save of a single partition, which is what a calm log needs: as save.sql, with the same tests, and cheap to plan and to run.
-- $1: projection; $2: instance; $3: token; $4: partition; $5: its epoch; $6: its floor; $7: the new position.
-- Lock: the row. Index: the primary key.
with saved as (
  update projection_checkpoints
  set last_global_position = $7, updated_at = clock_timestamp()
  where projection_name = $1 and partition = $4 and owner = $2::text::uuid and epoch = $5 and last_global_position = $6
    and exists (select from rouse_incarnation where token = $3::text::uuid)
  returning 1
)
select 1 / coalesce((select 1 from saved), 0)
