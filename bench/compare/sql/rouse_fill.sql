-- A history in Rouse's log. $1: how many events; $2: how many aggregates, which take turns. Lock: the advisory lock K.
insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
select 'account', 'a' || n % $2::bigint, n / $2::bigint + 1, 'MoneyDeposited',
       '{"amount": 1250, "currency": "EUR", "reference": "a standing order"}'
from generate_series(0, $1::bigint - 1) n
order by n
