-- Makes a shadow of what is live, under another name, with its checkpoints: what has just been replaced goes on as one.
-- $1: the live one; $2: the shadow; $3: the schema of its tables. Lock: none but what is made. Index: the primary keys.
with made as (
  insert into rouse.projections (projection_name, partitions, version, tables, tables_schema, shadow_of, shadow_from, starts_behind, shadow_ready_at)
  select $2, partitions, version, tables, $3, $1, starts_behind, starts_behind, clock_timestamp() from rouse.projections where projection_name = $1
)
insert into rouse.projection_checkpoints (projection_name, partition, last_global_position, epoch, event_id, event_position)
select $2, partition, last_global_position, epoch + 1, event_id, event_position from rouse.projection_checkpoints where projection_name = $1
