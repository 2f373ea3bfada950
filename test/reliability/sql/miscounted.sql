-- How many aggregates have a total that differs from what was handled of them.
select count(*)
from (select aggregate, count(*) as events, (array_agg(version order by seq desc))[1] as last_version
      from handled group by aggregate) as h
full join totals as t using (aggregate)
where (h.events, h.last_version) is distinct from (t.events, t.last_version)
