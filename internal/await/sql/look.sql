-- Returns how far projections are with what is waited for, a row for each waiter in their order: whether the projection exists, is to be
-- paused, was stopped, and is to start over behind an earlier position; its number of partitions; the position that is waited for; the
-- partitions that are not there yet, or null; whether they all have an owner that hears asks; the lowest of their checkpoints; whether a
-- living owner could go on with each of them (only where it was stopped); and which events that are waited for were set aside, with
-- those of them that wait for people, and those that wait for the time that the handler has named for the first of their aggregate.
-- $1: projections; $2: slots, -1: all; $3: the first and $4: the last positions, -1: that of the last event there is; the first is -1 where
-- it does not matter what was set aside, and then the last stands for that of the last event up to it.
-- Index: the primary keys, of which that of events is read backwards for one row. Lock: none.
with waiter as materialized (
  select w.n, w.name, w.slot, w.first,
         case when w.last < 0 then head.position when w.first >= 0 or w.last > head.position then w.last
              else coalesce((select max(e.global_position) from rouse.events e where e.global_position <= w.last), 0) end as last
  from unnest($1::text[], $2::int[], $3::bigint[], $4::bigint[]) with ordinality as w (name, slot, first, last, n),
       (select coalesce(max(global_position), 0) as position from rouse.events) as head
)
select p.projection_name is not null, coalesce(p.state = 'paused', false),
       coalesce(p.state = 'stopped' or p.state = 'running' and p.stopped_at is not null, false),
       coalesce(p.reset_to < w.last, false), coalesce(p.partitions, 0), w.last,
       b.partitions, coalesce(b.hear, true), coalesce(b.low, 0),
       case when p.state = 'stopped' or p.stopped_at is not null then not exists (
         select from rouse.projection_checkpoints c
         where c.projection_name = w.name and c.last_global_position < w.last and (w.slot < 0 or c.partition = w.slot & (p.partitions - 1))
           and not exists (select from rouse.rouse_members m where m.alive and m.instance_id = c.owner and m.states ->> w.name <> 'stopped'))
       else true end,
       a.positions, a.parked, a.deferred
from waiter w
left join rouse.projections p on p.projection_name = w.name
left join lateral (
  select array_agg(c.partition order by c.partition) as partitions, min(c.last_global_position) as low,
         bool_and(c.owner is null or exists (
           select from rouse.projection_workers m where m.instance_id = c.owner and m.mode in ('quiet', 'torrent'))) as hear
  from rouse.projection_checkpoints c
  where c.projection_name = p.projection_name and c.last_global_position < w.last and (w.slot < 0 or c.partition = w.slot & (p.partitions - 1))
) b on true
left join lateral (
  select array_agg(e.global_position) as positions,
         array_agg(e.global_position) filter (where h.due_at is null and h.retry_requested_at is null) as parked,
         array_agg(e.global_position) filter (where h.due_at is not null and h.last_error = '' and h.died = 0) as deferred
  from rouse.parked_events e,
       lateral (select q.due_at, q.retry_requested_at, q.last_error, q.died from rouse.parked_events q
                where q.projection_name = e.projection_name and q.aggregate_type = e.aggregate_type and q.aggregate_id = e.aggregate_id
                order by q.global_position limit 1) h
  where e.projection_name = p.projection_name and e.slot = w.slot and e.global_position between w.first and w.last
    and w.first >= 0
) a on true
order by w.n
