-- A save that tests all that it must, and does not raise. Parameters as of ../sql/save.sql.
update projection_checkpoints c set last_global_position = $7, updated_at = clock_timestamp()
from unnest($4::int[], $5::bigint[], $6::bigint[]) as f (partition, epoch, floor)
where f.partition = c.partition and c.projection_name = $1 and c.owner = $2::text::uuid and c.epoch = f.epoch
  and c.last_global_position = f.floor and exists (select from rouse_incarnation where token = $3::text::uuid)
