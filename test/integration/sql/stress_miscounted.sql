-- How many aggregates have a wrong tally: another number of events than the log, another last version, or a version that did
-- not come after the one before it.
select count(*)
from (select aggregate_type, aggregate_id, count(*) as events, max(aggregate_version) as last_version
      from events group by 1, 2) e
full join tallies t using (aggregate_type, aggregate_id)
where (e.events, e.last_version, 0) is distinct from (t.events, t.last_version, t.out_of_order)
