-- append_many: append several events to a stream, if the stream is at the expected version.
--
-- Parameters: $1 aggregate type, $2 aggregate id, $3 expected version (null: any), and one array element per event:
-- $4 event ids, $5 event types, $6 schema versions of the payloads, $7 payloads, $8 metadata.
-- The arrays are text, which is an array in every query mode of the client; the elements are cast.
-- Returns per new event, in the order of the arrays, the version of the stream before, the event's position and its slot; a
-- single row without them if the expected version is not met.
-- Raises 23505 if one of the rows meets another under a unique constraint. Skipping that row as append_one does would
-- leave the others behind, so this runs between SAVEPOINT and RELEASE.
-- Index: the unique one over (aggregate_type, aggregate_id, aggregate_version), read backwards for one row.
-- Locks: those of an insert, and the append lock that the trigger takes. Waits for a transaction that has inserted one of
-- the versions or event ids and is still open.
with head as (
  select coalesce(max(aggregate_version), 0) as version
  from events
  where aggregate_type = $1::text and aggregate_id = $2::text
), appended as (
  insert into events (event_id, aggregate_type, aggregate_id, aggregate_version,
                      event_type, event_version, payload, metadata)
  select e.id::uuid, $1::text, $2::text, head.version + e.n, e.type, e.version, e.payload::json, e.metadata::json
  from head,
       unnest($4::text[], $5::text[], $6::int[], $7::text[], $8::text[]) with ordinality
         as e (id, type, version, payload, metadata, n)
  where $3::bigint is null or head.version = $3::bigint
  order by e.n
  returning global_position, aggregate_version, slot
)
select head.version, appended.global_position, appended.slot
from head left join appended on true
order by appended.aggregate_version
