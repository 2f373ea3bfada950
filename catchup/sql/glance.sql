-- After head.sql, in a glance: the first events after a position, for a reader that had read everything and so expects
-- few.
-- $1: after. Index: the primary key, in order.
select global_position, event_id, aggregate_type, aggregate_id, aggregate_version, event_type, event_version,
       payload, metadata, slot, created_at
from rouse.events where global_position > $1 order by global_position limit 100
