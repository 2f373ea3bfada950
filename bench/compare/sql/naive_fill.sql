-- A history in the plain log. $1: how many events; $2: how many aggregates, which take turns.
insert into log (aggregate_id, payload)
select 'a' || n % $2::bigint, '{"amount": 1250, "currency": "EUR", "reference": "a standing order"}'
from generate_series(0, $1::bigint - 1) n
order by n
