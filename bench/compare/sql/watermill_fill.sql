-- Messages of a history, as many as a publisher may send at once: all have one transaction id. $1: the first number;
-- $2: the number after the last; $3: how many aggregates, which take turns.
insert into watermill_events (uuid, payload, metadata, transaction_id)
select gen_random_uuid()::text, '{"amount": 1250, "currency": "EUR", "reference": "a standing order"}',
       json_build_object('aggregate_id', 'a' || n % $3::bigint, 'version', (n / $3::bigint + 1)::text), pg_current_xact_id()
from generate_series($1::bigint, $2::bigint - 1) n
order by n
