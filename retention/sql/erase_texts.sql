-- Forgets the texts of errors that may quote events of an aggregate: of parked events, attempts, and stopped projections; also those of events that
-- have left the log, of which nothing says whose they were. Returns how many events
-- are parked. $3: their events are about to be deleted: the owner of the partition is asked to try the first, upon which it takes those out whose
-- event is gone.
-- $1, $2: the aggregate. Index: the unique one over streams; parked_events, event_attempts and projections are read whole, which are small.
-- Lock: the rows.
with own as materialized (
  select global_position from events where aggregate_type = $1 and aggregate_id = $2
  union
  select global_position from parked_events where aggregate_type = $1 and aggregate_id = $2
  union
  select t.position
  from (select global_position as position from event_attempts union select error_position from projections) t, rouse_retention r
  where t.position <= r.whole_from and not exists (select from events e where e.global_position = t.position)
), parked as (
  update parked_events p
  set last_error = case when p.last_error <> '' then 'erased' else '' end,
      due_at = case when $3::bool and f.first then clock_timestamp() else p.due_at end,
      retry_requested_at = case when $3::bool and f.first then clock_timestamp() else p.retry_requested_at end
  from (select projection_name, global_position, row_number() over (partition by projection_name order by global_position) = 1 as first
        from parked_events where aggregate_type = $1 and aggregate_id = $2) f
  where p.projection_name = f.projection_name and p.global_position = f.global_position
  returning 1
), tried as (
  update event_attempts set last_error = 'erased' where last_error <> '' and global_position in (select global_position from own)
), stopped as (
  update projections set last_error = 'erased' where last_error <> '' and error_position in (select global_position from own)
)
select count(*) from parked
