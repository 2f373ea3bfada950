-- The floor of catching up: the next events with everything that a projection gets of them. $1: after this position; $2: at
-- most so many rows. Index: the primary key, in order.
select global_position, event_id, aggregate_type, aggregate_id, aggregate_version, event_type, event_version,
       payload, metadata, slot, created_at
from events where global_position > $1 order by global_position limit $2
