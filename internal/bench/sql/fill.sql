-- A history in one statement. $1: how many events; $2: how many aggregates, which take turns, so that no batch of fewer events
-- meets an aggregate twice; $3: how many of them are there. Lock: as every append, the advisory lock K, until all are there.
insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
select 'account', 'a' || n % $2::bigint, n / $2::bigint + 1, 'MoneyDeposited',
       json_build_object('amount', n % 5000, 'currency', 'EUR', 'reference', 'a standing order')
from generate_series($3::bigint, $1::bigint - 1) n
order by n
