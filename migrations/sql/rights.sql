-- What the current role may not do although a worker has to: a row for each object, with the grant that is missing, or null
-- where the object itself is. A grant on single columns counts, so that nobody is refused who could work.
-- Lock: none but on catalogs. Index: those of the catalogs.
with needed (name, privileges) as (
  values ('events', array['select']), ('projections', array['select', 'insert', 'update']),
         ('projection_checkpoints', array['select', 'insert', 'update']),
         ('projection_workers', array['select', 'insert', 'update', 'delete']), ('rouse_members', array['select']),
         ('rouse_incarnation', array['select', 'insert']), ('rouse_restart', array['update']),
         ('event_attempts', array['select', 'insert', 'update', 'delete']),
         ('parked_events', array['select', 'insert', 'update', 'delete'])
), found as (
  select n.name, n.privileges, c.oid, case when c.oid is not null then format('%I.%I', s.nspname, c.relname) end as full_name
  from needed n
  left join pg_class c on c.oid = to_regclass(n.name)
  left join pg_namespace s on s.oid = c.relnamespace
), sequence as (
  select pg_get_serial_sequence(case when f.name = 'events' and f.oid is not null then f.full_name end, 'global_position') as full_name
  from found f
)
select f.name, format('grant %s on %s to %I', string_agg(p.name, ', ' order by p.n), f.full_name, current_user)
from found f, unnest(f.privileges) with ordinality p (name, n)
where f.oid is not null and not has_table_privilege(f.oid, p.name)
  and not case when p.name <> 'delete' then has_any_column_privilege(f.oid, p.name) else false end
group by f.name, f.full_name
union all
select f.name, null from found f where f.oid is null
union all
select s.full_name, format('grant select on sequence %s to %I', s.full_name, current_user)
from sequence s
where s.full_name is not null and not has_sequence_privilege(s.full_name, 'select') and not has_sequence_privilege(s.full_name, 'usage')
order by 1
