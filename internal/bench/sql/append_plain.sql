-- One append to the plain table, as append_event.sql makes one to the log. $1: aggregate id; $2: its version.
insert into plain_log (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
values ('account', $1, $2, 'MoneyDeposited', '{"amount": 1250, "currency": "EUR", "reference": "a standing order"}')
returning global_position
