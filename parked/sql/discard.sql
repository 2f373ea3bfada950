-- Forgets parked events without handling them. Where the first of an aggregate is among them, the next one becomes due. Under the locks
-- of lock.sql, in a statement of its own, so that it sees what the owner has parked meanwhile. Binaries before version 10 see the request in
-- retry_requested_at. Parameters 1 to 7 as in list.sql. Index: the one on aggregates.
with gone as (
  delete from parked_events
  where projection_name = $1 and ($2::text is null or aggregate_type = $2) and ($3::text is null or aggregate_id = $3)
    and ($4::bigint is null or global_position = $4) and ($5::text is null or event_type = $5)
    and ($6::text is null or position($6 in last_error) > 0) and ($7::timestamptz is null or parked_at >= $7)
  returning global_position, aggregate_type, aggregate_id
), freed as (
  update parked_events set due_at = clock_timestamp(), retry_requested_at = clock_timestamp()
  where projection_name = $1 and global_position in (
    select q.head
    from (select aggregate_type, aggregate_id, min(global_position) as first from gone group by 1, 2) a, lateral (
      select min(p.global_position) as head from parked_events p
      where p.projection_name = $1
        and hashtextextended(p.aggregate_id collate "C", 0) = hashtextextended(a.aggregate_id collate "C", 0)
        and p.aggregate_type = a.aggregate_type and p.aggregate_id = a.aggregate_id
        and p.global_position not in (select global_position from gone)) q
    where q.head > a.first)
)
select count(*) from gone
