-- Appends events to one aggregate as a program would that knows nothing of Rouse, and returns where they went.
-- $1: aggregate; $2: versions; $3: event ids; $4: types; $5: payloads, one each per event.
insert into events (aggregate_type, aggregate_id, aggregate_version, event_id, event_type, payload)
select 'soak', $1, version, id, type, payload::json
from unnest($2::bigint[], $3::uuid[], $4::text[], $5::text[]) with ordinality as g (version, id, type, payload, place)
order by place
returning global_position, slot
