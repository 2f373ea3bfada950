-- read_snapshot: the snapshot of an aggregate, if there is one that belongs to what is in the log.
--
-- Parameters: $1 aggregate type, $2 aggregate id, $3 name of the kind of state, $4 version of its form.
-- Returns one row: the sum of the times at which something of the aggregate was erased, or null; whether there is a snapshot; whether it may be used; its
-- version and its state. It may be used if its last event is in the log as it was, or has left it and later ones are there: then it is not of
-- a stream that began anew, and not of events that a restore took back.
-- Index: the primary keys of rouse_snapshots and rouse_erasures, the unique one of events over streams.
-- Locks: none.
select (select sum(extract(epoch from at))::text from rouse_erasures
        where stream = sha256(convert_to(octet_length($1::text) || '/' || $1::text || '/' || $2::text, 'UTF8'))),
       s.name is not null,
       coalesce(e.event_id = s.event_id,
                s.aggregate_version < (select max(aggregate_version) from events where aggregate_type = $1::text and aggregate_id = $2::text),
                false),
       coalesce(s.aggregate_version, 0), coalesce(s.state::text, '')
from (values (1)) one (n)
left join rouse_snapshots s
  on s.aggregate_type = $1::text and s.aggregate_id = $2::text and s.name = $3::text and s.state_version = $4::int
left join events e
  on e.aggregate_type = s.aggregate_type and e.aggregate_id = s.aggregate_id and e.aggregate_version = s.aggregate_version
