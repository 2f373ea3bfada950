-- One message, as watermill-sql's publisher inserts it. $1: aggregate id, in the metadata; $2: its version, the same.
insert into watermill_events (uuid, payload, metadata, transaction_id)
values (gen_random_uuid()::text, '{"amount": 1250, "currency": "EUR", "reference": "a standing order"}',
        json_build_object('aggregate_id', $1::text, 'version', $2::bigint::text), pg_current_xact_id())
