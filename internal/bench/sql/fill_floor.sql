-- Rows in the floor's table, so that it is read by its index, as a log that is not young. $1: how many; $2: how many aggregates.
insert into floor_log (aggregate_id, payload)
select 'a' || n % $2::bigint, '{"amount": 1250, "currency": "EUR", "reference": "a standing order"}'
from generate_series(1, $1::bigint) n
order by n
