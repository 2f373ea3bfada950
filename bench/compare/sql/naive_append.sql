-- One append to the plain log. $1: aggregate id; $2: its version, which this log does not keep.
insert into log (aggregate_id, payload)
select $1, '{"amount": 1250, "currency": "EUR", "reference": "a standing order"}' where $2::bigint > 0
