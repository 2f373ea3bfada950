-- Returns the rights that the current role lacks and a worker needs: a row for each object, with the grant that is
-- missing, or null where the object itself is. A grant on single columns counts, so that no role is refused that could
-- work; a save inserts all that it moves of a checkpoint. Then the tables of which row level security may hide rows from the role, with what takes it off, and true.
-- $1: the schema; '': where search_path leads.
-- Lock: none but on catalogs. Index: those of the catalogs.
with needed (name, privileges) as (
  values ('events', array['select']), ('projections', array['select', 'insert', 'update']), ('retired_projections', array['select']),
         ('projection_checkpoints', array['select', 'insert', 'update']),
         ('projection_workers', array['select', 'insert', 'update', 'delete']), ('rouse_members', array['select']),
         ('rouse_incarnation', array['select', 'insert']), ('rouse_restart', array['update']),
         ('rouse_retention', array['select']), ('rouse_archives', array['select']),
         ('event_attempts', array['select', 'insert', 'update', 'delete']),
         ('parked_events', array['select', 'insert', 'update', 'delete'])
), found as (
  select n.name, n.privileges, c.oid, case when c.oid is not null then format('%I.%I', s.nspname, c.relname) end as full_name
  from needed n
  left join pg_class c on c.oid = to_regclass(case when $1::text = '' then n.name else format('%I.%I', $1::text, n.name) end)
  left join pg_namespace s on s.oid = c.relnamespace
), sequence as (
  select pg_get_serial_sequence(case when f.name = 'events' and f.oid is not null then f.full_name end, 'global_position') as full_name
  from found f
), function as (
  select name, to_regprocedure(case when $1::text = '' then name else format('%I.%s', $1::text, name) end) as oid
  from (values ('rouse_incarnation_now(uuid)')) n (name)
)
select f.name, format('grant %s on %s to %I', string_agg(p.name, ', ' order by p.n), f.full_name, current_user), false
from found f, unnest(f.privileges) with ordinality p (name, n)
where f.oid is not null and not has_table_privilege(f.oid, p.name)
  and not case
    when f.name = 'projection_checkpoints' and p.name = 'insert' then (
      select bool_and(has_column_privilege(f.oid, a.attname, p.name)) from pg_attribute a where a.attrelid = f.oid and a.attname in (
        'projection_name', 'partition', 'epoch', 'last_global_position', 'event_id', 'event_position', 'room'))
    when p.name <> 'delete' then has_any_column_privilege(f.oid, p.name)
    else false
  end
group by f.name, f.full_name
union all
select f.name, null, false from found f where f.oid is null
union all
select s.full_name, format('grant select on sequence %s to %I', s.full_name, current_user), false
from sequence s
where s.full_name is not null and not has_sequence_privilege(s.full_name, 'select') and not has_sequence_privilege(s.full_name, 'usage')
union all
select f.name, case when f.oid is not null then format('grant execute on function %s to %I', f.oid::regprocedure, current_user) end, false
from function f where f.oid is null or not has_function_privilege(f.oid, 'execute')
union all
select f.name, format('alter table %s disable row level security', f.full_name), true
from found f where f.oid is not null and row_security_active(f.oid)
order by 1
