-- The whole log, in its order. Index: events_pkey.
select aggregate_id, aggregate_version, global_position, event_id, slot from events order by global_position
