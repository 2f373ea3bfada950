-- Returns what keeps tables from being replaced by others of the same names, as people name it: what is no plain table, what does more
-- with a row than to keep it, and what of others depends on the tables themselves and would go on with the old ones.
-- $1: the tables. Lock: none. Index: those of the catalogs.
with t as materialized (
  select c.*, format('%I.%I', n.nspname, c.relname) as name
  from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = any ($1::oid[])
), part as materialized ( -- what is a part of the tables, and goes where they go
  select 'pg_class'::regclass as classid, i.indexrelid as objid from pg_index i join t on t.oid = i.indrelid
  union all select 'pg_attrdef'::regclass, d.oid from pg_attrdef d join t on t.oid = d.adrelid
  union all select 'pg_constraint'::regclass, c.oid from pg_constraint c join t on t.oid = c.conrelid
  union all select 'pg_trigger'::regclass, g.oid from pg_trigger g join t on t.oid = g.tgrelid
  union all select 'pg_trigger'::regclass, g.oid from pg_trigger g join pg_constraint c on c.oid = g.tgconstraint join t on t.oid = c.conrelid
  union all select 'pg_policy'::regclass, p.oid from pg_policy p join t on t.oid = p.polrelid
  union all select 'pg_statistic_ext'::regclass, s.oid from pg_statistic_ext s join t on t.oid = s.stxrelid
  union all select 'pg_class'::regclass, d.objid from pg_depend d join t on d.refclassid = 'pg_class'::regclass and d.refobjid = t.oid
            join pg_class s on s.oid = d.objid and s.relkind in ('S', 't') where d.classid = 'pg_class'::regclass and d.deptype in ('a', 'i')
  union all select 'pg_type'::regclass, y.oid from pg_type y join t on t.reltype = y.oid
  union all select 'pg_type'::regclass, y.typarray from pg_type y join t on t.reltype = y.oid
  union all select 'pg_rewrite'::regclass, r.oid from pg_rewrite r join t on t.oid = r.ev_class
), used as ( -- by others
  select d.classid, d.objid, d.objsubid from pg_depend d
  where d.deptype in ('n', 'a')
    and (d.refclassid = 'pg_class'::regclass and d.refobjid in (select oid from t)
      or d.refclassid = 'pg_type'::regclass and d.refobjid in (select objid from part where classid = 'pg_type'::regclass))
    and not exists (select from part where part.classid = d.classid and part.objid = d.objid)
)
select format('%s is not a plain table', name) from t where relkind <> 'r'
union select format('%s is a part of a partitioned table, or inherits from or to another', t.name) from t
      where exists (select from pg_inherits i where i.inhrelid = t.oid or i.inhparent = t.oid) and relkind = 'r'
union select format('%s has the rule %s', t.name, r.rulename) from pg_rewrite r join t on t.oid = r.ev_class where t.relkind = 'r'
union select format('%s has the trigger %s, which is not one BEFORE each row', t.name, g.tgname)
      from pg_trigger g join t on t.oid = g.tgrelid where not g.tgisinternal and g.tgtype & 3 <> 3
union select format('%s depends on it', case
        when u.classid = 'pg_rewrite'::regclass then (select pg_describe_object('pg_class'::regclass, r.ev_class, 0) from pg_rewrite r where r.oid = u.objid)
        else pg_describe_object(u.classid, u.objid, u.objsubid) end) from used u
order by 1
