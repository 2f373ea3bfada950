-- The parked events of each projection that has some: how many, of how many aggregates, how many of them somebody wants handled
-- again, and how long ago the first was set aside, in seconds.
-- Index: none, it reads the whole table, which is small unless something is wrong.
select projection_name, count(*), count(distinct (aggregate_type, aggregate_id)), count(retry_requested_at),
       extract(epoch from clock_timestamp() - min(parked_at))::float8
from parked_events
group by projection_name
