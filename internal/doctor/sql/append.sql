-- Appends an event that is rolled back, and returns its position.
-- Lock: K, shared. Index: those of events.
insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
values ('rouse doctor', gen_random_uuid()::text, 1, 'Tried', '{}') returning global_position
