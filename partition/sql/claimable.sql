-- Whether a claim of these partitions would get any: as claim.sql, without taking a lock.
-- $1: projection; $2: instance; $3: partitions; $4, $5: milliseconds, as $6 and $7 there.
select exists (
  select from projection_checkpoints c
  where c.projection_name = $1 and c.partition = any ($3::int[])
    and (c.owner is null or c.owner = $2::text::uuid or not exists (
      select from projection_workers w
      where w.instance_id = c.owner
        and w.heartbeat_at > clock_timestamp() - interval '1 millisecond' * (case
          when w.presence is null or exists (
            select from pg_locks l
            where l.locktype = 'advisory' and l.objsubid = 2 and l.classid = 1919907152 and l.objid = w.presence::oid
              and l.database = (select oid from pg_database where datname = current_database()))
          then $4::bigint else $5::bigint end))))
