-- One more event, of an aggregate that nobody else writes.
insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
select 'order', 'order-last', coalesce(max(aggregate_version), 0) + 1, 'Happened', '{}'
from events where aggregate_type = 'order' and aggregate_id = 'order-last'
