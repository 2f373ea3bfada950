-- Compares the read model with the log, in one snapshot, from these two tables alone. A row counts for an event only if it
-- agrees with it in id, position, aggregate and version; where it does not, it is a stray. The first row of each event counts
-- as its handling, every further one as a double. The order is that of n against that of positions and versions, per aggregate.
-- Returns: events in the log; events handled; events without a row; rows beyond the first of their event; events handled
-- after a later one of the same aggregate; stray rows. Cost: a scan of both tables.
with rows as (
  select l.n, l.event_id, e.event_id is not null as known, e.aggregate_type, e.aggregate_id, e.global_position, e.aggregate_version,
         row_number() over (partition by l.event_id, e.event_id is not null order by l.n) as turn
  from demo_log l
  left join events e on e.event_id = l.event_id and e.global_position = l.global_position
    and (e.aggregate_type, e.aggregate_id, e.aggregate_version) = (l.aggregate_type, l.aggregate_id, l.aggregate_version)
), handled as (
  select event_id, global_position <= lag(global_position) over life or aggregate_version <= lag(aggregate_version) over life as late
  from rows where known and turn = 1
  window life as (partition by aggregate_type, aggregate_id order by n)
)
select (select count(*) from events),
       (select count(*) from handled),
       (select count(*) from events e left join handled h using (event_id) where h.event_id is null),
       (select count(*) from rows where known and turn > 1),
       (select count(*) from handled where late),
       (select count(*) from rows where not known)
