-- glance.sql with the states of the append trigger and of the push trigger behind it, as low_water.sql has them.
-- $1: oid of the sequence; $2: after; $3: oid of events. Index: the primary key, a probe for each position.
with h as materialized (select pg_sequence_last_value($1::bigint::oid::regclass) as head)
select e.global_position, e.event_id, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.event_type, e.event_version,
       e.payload, e.metadata, e.slot, e.created_at,
       h.head, (select rouse.rouse_incarnation_now(token) from rouse.rouse_incarnation), pg_relation_filenode($1::bigint::oid)::bigint,
       coalesce((select case when a.args[1]::bigint = $3::bigint and a.args[2]::bigint <> $1::bigint and pg_relation_filenode(a.args[2]::oid) is not null then 'W'
                             else t.tgenabled::text end
                 from pg_trigger t, lateral (select string_to_array(encode(t.tgargs, 'escape'), E'\\000')) a (args)
                 where t.tgrelid = $3::bigint::oid and t.tgname = 'rouse_append_before'), ''),
       coalesce((select t.tgenabled::text from pg_trigger t
                 where t.tgrelid = $3::bigint::oid and t.tgname = 'rouse_append_after'), '')
from h
left join lateral generate_series($2::bigint + 1, case when h.head > $2::bigint + 100 then $2::bigint + 100 else h.head end) p (at) on true
left join lateral (
  select global_position, event_id, aggregate_type, aggregate_id, aggregate_version, event_type, event_version,
         payload, metadata, slot, created_at
  from rouse.events where global_position = p.at offset 0
) e on true
