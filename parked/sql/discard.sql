-- Forgets parked events without handling them, and asks for what waited behind them to be handled. Under the locks of
-- lock.sql, in a statement of its own, so that it sees what the owner has parked meanwhile. Parameters 1 to 4 as in list.sql.
with gone as (
  delete from parked_events
  where projection_name = $1 and ($2::text is null or aggregate_type = $2) and ($3::text is null or aggregate_id = $3)
    and ($4::bigint is null or global_position = $4)
  returning global_position, aggregate_type, aggregate_id
), freed as (
  update parked_events e set retry_requested_at = clock_timestamp()
  from (select distinct aggregate_type, aggregate_id from gone) a
  where e.projection_name = $1 and e.aggregate_type = a.aggregate_type and e.aggregate_id = a.aggregate_id
    and e.global_position not in (select global_position from gone)
)
select count(*) from gone
