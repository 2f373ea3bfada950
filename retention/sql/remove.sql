-- Deletes events, but for the last of the log and, unless $2, the last of their streams, and returns them as a record has them.
-- $1: positions; $2: also the last of streams. Index: the primary key, and the unique one over streams. Lock: the rows.
delete from events e
where e.global_position = any ($1::bigint[])
  and ($2::bool or exists (select from events n where n.aggregate_type = e.aggregate_type and n.aggregate_id = e.aggregate_id
                                                 and n.aggregate_version > e.aggregate_version))
  and e.global_position < (select max(global_position) from events)
returning e.global_position, e.event_id::text, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.event_type, e.event_version,
       to_char(e.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), e.payload::text, e.metadata::text
