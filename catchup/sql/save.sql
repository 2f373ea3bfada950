-- The save, in the transaction of the effects. Moves the checkpoints of the batch, or raises division_by_zero in the
-- server if a single one of them has another owner, epoch or floor than the batch was read under, or if the database is
-- another incarnation. It must raise by itself: in a pipelined transaction an update of no rows would go on to COMMIT.
-- $1: projection; $2: instance; $3: token; $4, $5, $6: partitions with the epoch and floor of each; $7: the new
-- position.
-- $8: the event at the new position, or null. $9: the name of the transaction, or null: any. In another one it raises
-- invalid_text_representation: the handler has ended the one that was begun, and its effects are gone, or committed.
-- $10: how long to wait for rows that another session holds, with its unit. It raises lock_not_available then. The limit is set
-- before the rows are locked, and put back as it was behind that: for the commit, whose deferred constraints are the handler's.
-- $11: whether the new version of each row is to be a large one, see spot.go.
-- Returns, behind what raises, what a handler may have changed of the session: role, search_path, and whether it has had temporary tables;
-- releases the locks of the session that it has left behind; and returns the partitions, and where the row of each is now.
-- Lock: the rows, in the order of partitions, so that two saves cannot deadlock. Index: the primary key.
with bound as materialized (
  select current_setting('lock_timeout') as was, set_config('lock_timeout', $10::text, true) as is
), mine as materialized (
  select c.partition, f.large
  from rouse.projection_checkpoints c
  join unnest($4::int[], $5::bigint[], $6::bigint[], $11::bool[]) as f (partition, epoch, floor, large) on f.partition = c.partition
  where c.projection_name = $1 and c.owner = $2::text::uuid and c.epoch = f.epoch and c.last_global_position = f.floor
    and (select b.is from bound b) is not null
  order by c.partition
  for no key update of c
), saved as (
  update rouse.projection_checkpoints c
  set last_global_position = $7, event_id = $8::text::uuid, event_position = $7, updated_at = clock_timestamp(),
      room = case when mine.large then repeat(' ', 2100) end
  from mine
  where c.projection_name = $1 and c.partition = mine.partition
    and exists (select from rouse.rouse_incarnation where rouse.rouse_incarnation_now(token) = $3::text)
  returning c.partition, c.ctid as spot
)
select 1 / (count(*) = cardinality($4::int[]))::int,
       case when $9::text is not null and current_setting('rouse.work', true) is distinct from $9::text
            then (coalesce(current_setting('rouse.work', true), '') || ' is not the transaction that was begun')::int end,
       current_setting('role'), current_setting('search_path'),
       pg_my_temp_schema() <> 0, set_config('lock_timeout', (select was from bound), true), pg_advisory_unlock_all()::text,
       array_agg(partition), array_agg(spot)
from saved
