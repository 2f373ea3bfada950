-- As read.sql, for some slots only. The test is a filter on the primary key's range scan: no other index makes it
-- faster.
-- $1: after; $2: up to and including; $3: the maximum number of rows; $4: a set of 1024 bits, the bit of a wanted slot
-- is 1.
select global_position, event_id, aggregate_type, aggregate_id, aggregate_version, event_type, event_version,
       payload, metadata, slot, created_at
from rouse.events where global_position > $1 and global_position <= $2 and get_bit($4::bytea, slot) = 1
order by global_position limit $3
