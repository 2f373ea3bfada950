-- A glance, in one statement: the head, the token and the file of the sequence as head.sql has them, and the events that follow a
-- position without a gap, up to the head and 100 at most, for a reader that had read everything and so expects few.
-- One row for each position; where it has no event, the columns of the event are null. One row with all of these null where the
-- head is not above the position. The snapshot is older than the head, so an event may be missed, and none is beyond the head.
-- Its settings are those of the session. Each event is looked for by its position, of which the planner knows that there is one at
-- most: so it needs no setting to go along the index, one plan is as good as another for every position, and it is kept.
-- $1: oid of the sequence; $2: after. Index: the primary key, a probe for each position.
with h as materialized (select pg_sequence_last_value($1::bigint::oid::regclass) as head)
select e.global_position, e.event_id, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.event_type, e.event_version,
       e.payload, e.metadata, e.slot, e.created_at,
       h.head, (select rouse.rouse_incarnation_now(token) from rouse.rouse_incarnation), pg_relation_filenode($1::bigint::oid)::bigint
from h
left join lateral generate_series($2::bigint + 1, case when h.head > $2::bigint + 100 then $2::bigint + 100 else h.head end) p (at) on true
left join lateral (
  select global_position, event_id, aggregate_type, aggregate_id, aggregate_version, event_type, event_version,
         payload, metadata, slot, created_at
  from rouse.events where global_position = p.at offset 0
) e on true
