-- save_snapshot: keep the state of an aggregate, unless something of it was erased since its events were read, all of it has left the log, or
-- its stream has begun anew since.
--
-- Parameters: $1 aggregate type, $2 aggregate id, $3 name of the kind of state, $4 version of its form, $5 version of the aggregate, $6 id of the
-- event of that version, $7 the state, $8 the sum of the times of erasures as its events were read, or null; $9 whether
-- what is there is of no use, and gives way whatever its version.
-- What deletes such rows (erase, prune) has the table for itself until it commits, and this statement waits for the table before it sees
-- anything: so it sees why the row that it would insert could not be deleted. That holds in READ COMMITTED only. The sum, because the latest
-- time says nothing of an erasure whose clock was behind that of an earlier one.
-- Index: the primary keys of rouse_snapshots and rouse_erasures, the unique one of events over streams.
-- Locks: ROW EXCLUSIVE on rouse_snapshots, and the row.
insert into rouse_snapshots as s (aggregate_type, aggregate_id, name, state_version, aggregate_version, event_id, state)
select $1::text, $2::text, $3::text, $4::int, $5::bigint, $6::text::uuid, $7::text::json
where $8::text is not distinct from (
  select sum(extract(epoch from at))::text from rouse_erasures
  where stream = sha256(convert_to(octet_length($1::text) || '/' || $1::text || '/' || $2::text, 'UTF8')))
  and exists (select from events where aggregate_type = $1::text and aggregate_id = $2::text and aggregate_version >= $5::bigint)
  and not exists (select from events
                  where aggregate_type = $1::text and aggregate_id = $2::text and aggregate_version = $5::bigint and event_id <> $6::text::uuid)
on conflict (aggregate_type, aggregate_id, name, state_version) do update
set aggregate_version = excluded.aggregate_version, event_id = excluded.event_id, state = excluded.state, created_at = clock_timestamp()
where s.aggregate_version < excluded.aggregate_version or $9::bool
