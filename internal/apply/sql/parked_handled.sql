-- Deletes the first rows of the queue of an aggregate, which this transaction has handled or given up, or whose events are gone. What
-- is first then becomes due. Returns whether there is any. Raises division_by_zero if one of the rows is gone. Runs under the lock
-- of the partition. $1: projection; $2, $3: aggregate; $4: positions. Index: the primary key, and the one on aggregates.
with gone as (
  delete from rouse.parked_events where projection_name = $1 and global_position = any ($4::bigint[]) returning 1
), next as (
  update rouse.parked_events set due_at = clock_timestamp()
  where projection_name = $1 and global_position = (
    select global_position from rouse.parked_events
    where projection_name = $1 and hashtextextended(aggregate_id collate "C", 0) = hashtextextended($3::text collate "C", 0)
      and aggregate_type = $2 and aggregate_id = $3 and not global_position = any ($4::bigint[])
    order by global_position limit 1)
  returning 1
)
select 1 / (count(*) = cardinality($4::bigint[]))::int, exists (select from next) from gone
