-- One append to the floor's own table, with the same payload. $1: aggregate id. Returns its position.
insert into floor_log (aggregate_id, payload) values ($1, '{"amount": 1250, "currency": "EUR", "reference": "a standing order"}')
returning id
