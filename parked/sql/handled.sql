-- Takes parked events of one aggregate out that were handled in this transaction, and goes on asking for what is still behind
-- them. Raises division_by_zero if one of them is not there any more. Under the lock of the partition.
-- $1: projection; $2, $3: aggregate; $4: positions. Index: the primary key, and the one on aggregates.
with gone as (
  delete from parked_events where projection_name = $1 and global_position = any ($4::bigint[]) returning 1
), more as (
  update parked_events set retry_requested_at = clock_timestamp()
  where projection_name = $1 and aggregate_type = $2 and aggregate_id = $3 and not global_position = any ($4::bigint[])
)
select 1 / (count(*) = cardinality($4::bigint[]))::int from gone
