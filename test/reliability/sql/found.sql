-- How many of the events of an append are in the log, after its answer was lost.
-- $1: ids of the events. Index: events_event_id_key.
select count(*) from events where event_id = any ($1::uuid[])
