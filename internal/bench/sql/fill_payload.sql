-- A history of payloads of one size, that cannot be compressed. $1: how many events; $2: how many aggregates, which take turns; $3: bytes
-- of each payload, nearly. Lock: as every append, the advisory lock K, until all are there.
with noise as materialized (
  select string_agg(md5(n::text), '') as letters from generate_series(1, $3::int / 32 + 64) n
)
insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
select 'account', 'a' || n % $2::bigint, n / $2::bigint + 1, 'MoneyDeposited',
       json_build_object('text', substr(letters, (1 + n % 1000)::int, $3::int))
from noise, generate_series(0, $1::bigint - 1) n
order by n
