-- Compares the read model with the log, in one snapshot, at any time and also while workers run: the due events of an
-- aggregate are those up to the checkpoint of its partition, because read model and checkpoint commit together.
-- $1: projection. Returns: events in the log; events due; events counted; events due that were not counted; events
-- counted beyond those due; versions out of turn. Cost: a scan of events.
with due as (
  select e.aggregate_type, e.aggregate_id, count(*) as appended,
         count(*) filter (where e.global_position <= c.last_global_position) as due
  from events e
  left join projections p on p.projection_name = $1
  left join projection_checkpoints c on c.projection_name = $1 and c.partition = e.slot & (p.partitions - 1)
  group by e.aggregate_type, e.aggregate_id
)
select coalesce(sum(d.appended), 0)::bigint, coalesce(sum(d.due), 0)::bigint, coalesce(sum(s.events), 0)::bigint,
       coalesce(sum(greatest(coalesce(d.due, 0) - coalesce(s.events, 0), 0)), 0)::bigint,
       coalesce(sum(greatest(coalesce(s.events, 0) - coalesce(d.due, 0), 0)), 0)::bigint,
       coalesce(sum(s.out_of_order), 0)::bigint
from due d full join scaling_activity s using (aggregate_type, aggregate_id)
