-- $1, $2: aggregate; $3: its version so far; $4: how many events.
insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
select $1, $2, $3::bigint + n, 'Happened', json_build_object('by', 'select', 'n', n)
from generate_series(1, $4::int) as n order by n
