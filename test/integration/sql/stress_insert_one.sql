-- $1, $2: aggregate; $3: its version so far.
insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
values ($1, $2, $3::bigint + 1, 'Happened', '{"by": "insert"}')
