-- Third of three, in a statement of its own, so that its snapshot is younger than the look at the locks: the events
-- after a position.
-- $1: after; $2: up to and including; $3: the maximum number of rows. Index: the primary key, in order.
select global_position, event_id, aggregate_type, aggregate_id, aggregate_version, event_type, event_version,
       payload, metadata, slot, created_at
from rouse.events where global_position > $1 and global_position <= $2 order by global_position limit $3
