-- How many events are set aside.
select count(*) from parked_events
