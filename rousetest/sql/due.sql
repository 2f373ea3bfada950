-- Whether something of some projections is to be tried now. $1: their names. Index: parked_events_due.
select exists (select from parked_events where projection_name = any ($1::text[]) and due_at <= clock_timestamp())
