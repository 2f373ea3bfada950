-- As read_slots.sql, for events of some types only, so that the server does not send a reader far behind the events
-- that it would pass over. The tests are filters on the primary key's range scan: the range bounds the rows that are
-- read, however few the filters let through.
-- $1: after; $2: up to and including; $3: the maximum number of rows; $4: a set of 1024 bits, the bit of a wanted slot
-- is 1; $5: types of events, $6: types of aggregates; null: all.
select global_position, event_id, aggregate_type, aggregate_id, aggregate_version, event_type, event_version,
       payload, metadata, slot, created_at
from rouse.events where global_position > $1 and global_position <= $2 and get_bit($4::bytea, slot) = 1
  and ($5::text[] is null or event_type = any($5::text[])) and ($6::text[] is null or aggregate_type = any($6::text[]))
order by global_position limit $3
