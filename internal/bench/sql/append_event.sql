-- One append, as any program would make it. $1: aggregate id; $2: its version. Returns its
-- position. Lock: as every append, the advisory lock K.
insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
values ('account', $1, $2, 'MoneyDeposited', '{"amount": 1250, "currency": "EUR", "reference": "a standing order"}')
returning global_position
