-- The read that most libraries do: everything above the checkpoint, in order. Returns the new checkpoint, null if there was
-- nothing. $1: projection; $2: checkpoint; $3: at most so many events.
with handled as (
  insert into seen (projection, global_position, aggregate_type, aggregate_id, version, instance)
  select $1::text, global_position, aggregate_type, aggregate_id, aggregate_version, $1::text
  from events where global_position > $2::bigint order by global_position limit $3::bigint
  returning global_position
)
select max(global_position) from handled
