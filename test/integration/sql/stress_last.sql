-- One more event, of an aggregate that nobody else writes.
insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
values ('order', 'order-last', 1, 'Happened', '{}')
