-- Inserts events at positions where there are none. What meets another one, under its position, id or version, is left out, which shows when the
-- whole archive is compared.
-- $1: positions; $2: ids; $3, $4: aggregates; $5: versions; $6: types; $7: their versions; $8: payloads; $9: metadata; $10: times.
-- Index: all of events. Lock: those of an insert, and the append lock that the trigger takes, until the end of the transaction: what is appended
-- meanwhile waits for it.
insert into events (global_position, event_id, aggregate_type, aggregate_id, aggregate_version, event_type, event_version, payload, metadata, created_at)
overriding system value
select position, id::uuid, aggregate_type, aggregate_id, version, type, type_version, payload::json, metadata::json, at::timestamptz
from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::int[], $8::text[], $9::text[], $10::text[])
  as e (position, id, aggregate_type, aggregate_id, version, type, type_version, payload, metadata, at)
order by position
on conflict do nothing
