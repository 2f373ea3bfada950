-- Puts the events of a scenario into the log, in a transaction that will be rolled back, at the positions that they have. An
-- element of each array for each event. $1: positions; $2: ids; $3, $4: types and ids of aggregates; $5: versions in them; $6: types;
-- $7: versions of payloads; $8: payloads; $9: metadata; $10: times. Returns position and slot. Lock: as each append.
insert into events (global_position, event_id, aggregate_type, aggregate_id, aggregate_version, event_type, event_version, payload, metadata, created_at)
overriding system value
select * from unnest($1::bigint[], $2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::int[], $8::json[], $9::json[], $10::timestamptz[])
returning global_position, slot
