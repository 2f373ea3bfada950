-- The verdict on a projection, from the log and the table that it wrote, by no way that the worker uses. One row:
--   committed    events in the log
--   inverted     of these, at a version that is not the one after the version before them in the log: the writers' own mistake
--   seen         events handled
--   lost         committed and never handled
--   doubled      handled more often than once, all times but the first
--   phantom      handled, but no such event is in the log
--   out_of_order handled after a later version or a later position of the same aggregate
--   beyond       checkpoints that stand above the last event
--   behind       checkpoints that stand below it
-- $1: projection.
with handled as (
  select * from seen where projection = $1
), written as (
  select aggregate_version as version,
         coalesce(lag(aggregate_version) over (
           partition by aggregate_type, aggregate_id order by global_position), 0) as before
  from events
), ordered as (
  select version, global_position,
         lag(version) over w as version_before, lag(global_position) over w as position_before
  from handled
  window w as (partition by aggregate_type, aggregate_id order by seq)
), last as (
  select coalesce(max(global_position), 0) as position from events
)
select (select count(*) from events) as committed,
       (select count(*) from written where version <> before + 1) as inverted,
       (select count(*) from handled) as seen,
       (select count(*) from events e
        where not exists (select from handled h where h.global_position = e.global_position)) as lost,
       (select count(*) - count(distinct global_position) from handled) as doubled,
       (select count(*) from handled h where not exists (
          select from events e
          where (e.global_position, e.aggregate_type, e.aggregate_id, e.aggregate_version)
              = (h.global_position, h.aggregate_type, h.aggregate_id, h.version))) as phantom,
       (select count(*) from ordered
        where version <= version_before or global_position <= position_before) as out_of_order,
       (select count(*) from projection_checkpoints, last
        where projection_name = $1 and last_global_position > last.position) as beyond,
       (select count(*) from projection_checkpoints, last
        where projection_name = $1 and last_global_position < last.position) as behind
