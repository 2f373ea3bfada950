-- Returns the shadows of some projections, each with what it takes to judge how far it is: its lowest checkpoint, the lowest and the
-- highest of the live one, the last event of the log, and how many living members run it.
-- $1: the projections, or null for all; $2: only this shadow, or null. Lock: none. Index: projections_shadows and the primary keys.
select s.projection_name, s.shadow_of, s.version, p.version, coalesce(s.tables, '{}'), coalesce(s.tables_schema, ''), s.shadow_from,
       s.shadow_ready_at is not null, s.shadow_swap, coalesce(s.shadow_error, ''), s.shadow_refused,
       s.state = 'paused', s.state = 'stopped' or s.state = 'paused' and s.stopped_at is not null, coalesce(s.last_error, ''),
       coalesce(mine.low, s.shadow_from), coalesce(live.low, 0), coalesce(live.high, 0),
       (select coalesce(max(global_position), 0) from rouse.events),
       (select count(*) from rouse.rouse_members where alive and states ? s.projection_name),
       s.created_at
from rouse.projections s
join rouse.projections p on p.projection_name = s.shadow_of,
lateral (select min(last_global_position) as low from rouse.projection_checkpoints c where c.projection_name = s.projection_name) mine,
lateral (select min(last_global_position) as low, max(last_global_position) as high
         from rouse.projection_checkpoints c where c.projection_name = s.shadow_of) live
where s.shadow_of is not null and ($1::text[] is null or s.shadow_of = any ($1::text[])) and ($2::text is null or s.projection_name = $2::text)
order by s.projection_name collate "C"
