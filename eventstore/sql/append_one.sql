-- append_one: append one event to a stream, if the stream is at the expected version.
--
-- Parameters: $1 aggregate type, $2 aggregate id, $3 expected version (null: any), $4 event id, $5 event type, $6
-- schema version of the payload, $7 payload, $8 metadata.
-- Returns one row: the version of the stream in this statement's snapshot, and the position and the slot of the new event or null.
-- Null with an expected version that is met means that the row met another one under a unique constraint: a writer
-- whose commit this snapshot does not show, or the same event id. DO NOTHING, because an error would end the caller's
-- transaction; and one row is all or nothing by itself, so no savepoint is needed.
-- No conflict target, because the event id must be covered like the version.
-- Index: the unique one over (aggregate_type, aggregate_id, aggregate_version), read backwards for one row.
-- Locks: those of an insert, and the append lock that the trigger takes. Waits for a transaction that has inserted the
-- same version or event id and is still open.
with head as (
  select coalesce(max(aggregate_version), 0) as version
  from events
  where aggregate_type = $1::text and aggregate_id = $2::text
), appended as (
  insert into events (event_id, aggregate_type, aggregate_id, aggregate_version,
                      event_type, event_version, payload, metadata)
  select $4::uuid, $1::text, $2::text, head.version + 1, $5::text, $6::int, $7::json, $8::json
  from head
  where $3::bigint is null or head.version = $3::bigint
  on conflict do nothing
  returning global_position, slot
)
select head.version, appended.global_position, appended.slot
from head left join appended on true
