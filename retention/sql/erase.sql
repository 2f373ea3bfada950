-- Replaces what is in the events of an aggregate, or deletes them but for the one with the highest version and the last of the log, which become
-- empty. Returns how many were deleted and how many replaced.
-- $1, $2: the aggregate; $3: the payload, null: delete; $4: the position of the one with the highest version.
-- Index: the unique one over streams, and the primary key. Lock: the rows.
with gone as (
  delete from events
  where $3::text is null and aggregate_type = $1 and aggregate_id = $2 and global_position <> $4
    and global_position < (select max(global_position) from events)
  returning global_position
), emptied as (
  update events set payload = coalesce($3::text, '{}')::json, metadata = '{}'
  where aggregate_type = $1 and aggregate_id = $2
    and ($3::text is not null or global_position = $4 or global_position = (select max(global_position) from events))
  returning 1
)
select (select count(*) from gone), (select count(*) from emptied)
