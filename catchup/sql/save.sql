-- The save, in the transaction of the effects. Moves the checkpoints of the batch, or raises division_by_zero in the
-- server if a single one of them has another owner, epoch or floor than the batch was read under, or if the database is
-- another incarnation. It must raise by itself: in a pipelined transaction an update of no rows would go on to COMMIT.
-- $1: projection; $2: instance; $3: token; $4, $5, $6: partitions, rising, with the epoch and floor of each; $7: the new
-- position.
-- $8: the event at the new position, or null. $9: the name of the transaction, or null: any. In another one it raises
-- invalid_text_representation: the handler has ended the one that was begun, and its effects are gone, or committed.
-- $10: how long to wait for rows that another session holds, with its unit. It raises lock_not_available then. The limit is set
-- before the rows are locked, and put back as it was behind that: for the commit, whose deferred constraints are the handler's.
-- $11: whether the new version of each row is to be a large one, see spot.go. $12: whether to return the spots.
-- Returns, behind what raises, what a handler may have changed of the session: role, search_path, and whether it has had temporary tables;
-- releases the locks of the session that it has left behind; and returns where the row of each partition is now, or null.
--
-- It is an insert that never inserts: each proposed row carries the fence, and meets the row of its partition. That is the one form which
-- looks each row up by the primary key, one after the other as they are proposed, whatever the server believes of the table. As a join it
-- is planned by an estimate that is wrong for every young table, and compares each row with each of the batch. A partition that has no
-- row is put in without an owner, is not counted, and goes with the transaction.
-- Lock: the rows, in the order in which they are given, which is that of partitions, so that two saves cannot deadlock.
-- Index: the primary key.
with bound as materialized (
  select current_setting('lock_timeout') as was, set_config('lock_timeout', $10::text, true) as is
), saved as (
  insert into rouse.projection_checkpoints as c (projection_name, partition, epoch, last_global_position, room)
  select $1, f.partition, f.epoch, f.floor, case when f.large then repeat(' ', 2100) end
  from (select unnest($4::int[]) as partition, unnest($5::bigint[]) as epoch, unnest($6::bigint[]) as floor, unnest($11::bool[]) as large) f
  where (select b.is from bound b) is not null
    and exists (select from rouse.rouse_incarnation where rouse.rouse_incarnation_now(token) = $3::text)
  on conflict (projection_name, partition) do update
  set last_global_position = $7, event_id = $8::text::uuid, event_position = $7, updated_at = clock_timestamp(), room = excluded.room
  where c.owner = $2::text::uuid and c.epoch = excluded.epoch and c.last_global_position = excluded.last_global_position
  returning c.owner, c.ctid as spot
)
select 1 / (count(owner) = cardinality($4::int[]))::int,
       case when $9::text is not null and current_setting('rouse.work', true) is distinct from $9::text
            then (coalesce(current_setting('rouse.work', true), '') || ' is not the transaction that was begun')::int end,
       current_setting('role'), current_setting('search_path'),
       pg_my_temp_schema() <> 0, set_config('lock_timeout', (select was from bound), true), pg_advisory_unlock_all()::text,
       array_agg(spot) filter (where $12::bool)
from saved
