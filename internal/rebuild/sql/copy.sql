-- Returns the statements that make empty tables like others in another schema, in their order: with columns, defaults, checks, identity and
-- sequences of their own, constraints and indexes under the same names, foreign keys, triggers, row security, owner and grants.
-- The caller has set search_path to pg_catalog, so that everything else is written with its schema.
-- $1: the tables; $2: the schema. Lock: none. Index: those of the catalogs.
with t as materialized (
  select c.*, u.n, format('%I.%I', n.nspname, c.relname) as live, format('%I.%I', $2::text, c.relname) as made
  from unnest($1::oid[]) with ordinality as u (oid, n) join pg_class c on c.oid = u.oid join pg_namespace n on n.oid = c.relnamespace
), s as materialized ( -- the sequences that belong to columns
  select t.n, t.made as table_made, a.attname, a.attidentity, q.*, format(' increment by %s minvalue %s maxvalue %s start with %s cache %s%s',
           q.seqincrement, q.seqmin, q.seqmax, q.seqstart, q.seqcache, case when q.seqcycle then ' cycle' else '' end) as options, c.relname, format('%I.%I', n.nspname, c.relname) as live, format('%I.%I', $2::text, c.relname) as made
  from t join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = t.oid and d.classid = 'pg_class'::regclass and d.deptype in ('a', 'i')
  join pg_class c on c.oid = d.objid and c.relkind = 'S' join pg_namespace n on n.oid = c.relnamespace
  join pg_sequence q on q.seqrelid = c.oid join pg_attribute a on a.attrelid = t.oid and a.attnum = d.refobjsubid
), acl as materialized (
  select 'table' as what, t.n, t.made, '' as columns, a.* from t, aclexplode(t.relacl) a where t.relacl is not null
  union all
  select 'table', t.n, t.made, format(' (%I)', att.attname), a.*
  from t join pg_attribute att on att.attrelid = t.oid and att.attnum > 0 and not att.attisdropped, aclexplode(att.attacl) a where att.attacl is not null
  union all
  select 'sequence', s.n, s.made, '', a.* from s join pg_class c on c.oid = s.seqrelid, aclexplode(c.relacl) a where c.relacl is not null
)
select sql from (
  select 1 as step, t.n, '' as name, format('create %stable %s (like %s including all excluding indexes excluding identity)%s',
    case t.relpersistence when 'u' then 'unlogged ' else '' end, t.made, t.live, ' with (' || array_to_string(t.reloptions, ', ') || ')') as sql from t
  union all
  select 2, s.n, s.relname, format('create sequence %s as %s%s', s.made, format_type(s.seqtypid, null), s.options) from s where s.attidentity = ''
  union all
  select 2, s.n, s.relname, format('alter table %s alter column %I add generated %s as identity (sequence name %s%s)', s.table_made, s.attname,
    case s.attidentity when 'a' then 'always' else 'by default' end, s.made, s.options) from s where s.attidentity <> ''
  union all
  select 3, s.n, s.relname, format('alter table %s alter column %I set default %s', t.made, a.attname,
    replace(pg_get_expr(d.adbin, d.adrelid), format('%L::regclass', s.live), format('%L::regclass', s.made)))
  from s join t on t.n = s.n join pg_attrdef d on d.adrelid = t.oid join pg_attribute a on a.attrelid = t.oid and a.attnum = d.adnum
  where position(format('%L::regclass', s.live) in pg_get_expr(d.adbin, d.adrelid)) > 0
  union all
  select 4, s.n, s.relname, format('alter sequence %s owned by %s.%I', s.made, s.table_made, s.attname) from s where s.attidentity = ''
  union all
  select 5, t.n, c.conname, format('alter table %s add constraint %I %s', t.made, c.conname, pg_get_constraintdef(c.oid))
  from t join pg_constraint c on c.conrelid = t.oid where c.contype in ('p', 'u', 'x')
  union all
  select 6, t.n, i.indexrelid::regclass::text,
    replace(pg_get_indexdef(i.indexrelid), format(' ON %s USING ', t.live), format(' ON %s USING ', t.made))
  from t join pg_index i on i.indrelid = t.oid
  where not exists (select from pg_constraint c where c.conindid = i.indexrelid and c.contype in ('p', 'u', 'x'))
  union all
  select 7, t.n, c.conname, format('alter table %s add constraint %I %s', t.made, c.conname, case when r.oid is null then pg_get_constraintdef(c.oid)
    else replace(pg_get_constraintdef(c.oid), format('REFERENCES %s(', r.live), format('REFERENCES %s(', r.made)) end)
  from t join pg_constraint c on c.conrelid = t.oid left join t r on r.oid = c.confrelid where c.contype = 'f' and c.conparentid = 0
  union all
  select 8, t.n, g.tgname, replace(pg_get_triggerdef(g.oid), format(' ON %s ', t.live), format(' ON %s ', t.made))
  from t join pg_trigger g on g.tgrelid = t.oid where not g.tgisinternal
  union all
  select 9, t.n, g.tgname, format('alter table %s %s trigger %I', t.made,
    case g.tgenabled when 'D' then 'disable' when 'A' then 'enable always' else 'enable replica' end, g.tgname)
  from t join pg_trigger g on g.tgrelid = t.oid where not g.tgisinternal and g.tgenabled <> 'O'
  union all
  select 10, t.n, p.polname, format('create policy %I on %s as %s for %s to %s', p.polname, t.made, case when p.polpermissive then 'permissive' else 'restrictive' end,
    case p.polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete' else 'all' end,
    (select string_agg(case role when 0 then 'public' else quote_ident(pg_get_userbyid(role)) end, ', ') from unnest(p.polroles) as role))
    || coalesce(' using (' || pg_get_expr(p.polqual, p.polrelid) || ')', '') || coalesce(' with check (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')', '')
  from t join pg_policy p on p.polrelid = t.oid
  union all
  select 11, t.n, v.what, format('alter table %s %s row level security', t.made, v.what)
  from t, (values ('enable'), ('force')) v (what) where case v.what when 'enable' then t.relrowsecurity else t.relforcerowsecurity end
  union all
  select 12, t.n, '', format('comment on table %s is %L', t.made, obj_description(t.oid, 'pg_class')) from t where obj_description(t.oid, 'pg_class') is not null
  union all
  select 13, t.n, '', format('alter table %s owner to %I', t.made, pg_get_userbyid(t.relowner)) from t where pg_get_userbyid(t.relowner) <> current_user
  union all
  select 14, a.n, a.privilege_type || a.columns || a.grantee, format('grant %s%s on %s %s to %s%s', a.privilege_type, a.columns, a.what, a.made,
    case a.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(a.grantee)) end, case when a.is_grantable then ' with grant option' else '' end)
  from acl a
) statements
order by step, n, name collate "C"
