-- Tells parked events their new partition. $1: projection; $2: partitions. Index: the primary keys.
update parked_events k set partition = e.slot & ($2::int - 1)
from events e
where k.projection_name = $1 and e.global_position = k.global_position and k.partition <> e.slot & ($2::int - 1)
