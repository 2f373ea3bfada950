-- One append, as any program would make it that waits afterwards. $1: aggregate id; $2: its version. Returns its
-- position and its slot. Lock: as every append, the advisory lock K.
insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
values ('account', $1, $2, 'MoneyDeposited', '{"amount": 1250, "currency": "EUR", "reference": "a standing order"}')
returning global_position, slot
