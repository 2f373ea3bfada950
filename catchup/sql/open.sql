-- What a reader must know of the log before its first read: which table and sequence it is, where it is, and whether they keep
-- the protocol. One row. The state of the append trigger is as in low_water.sql. $1: the table, as a name that is qualified unless
-- search_path is to find it.
-- Lock: ACCESS SHARE on nothing but catalogs.
select e.oid, d.objid, (select oid from pg_database where datname = current_database()), n.nspname,
       pg_relation_filenode(d.objid),
       getdatabaseencoding(), coalesce(s.seqcache, 0), coalesce(s.seqincrement, 0),
       coalesce((select case when a.args[1]::bigint = e.oid::bigint and a.args[2]::bigint <> d.objid::bigint and pg_relation_filenode(a.args[2]::oid) is not null then 'W'
                             else t.tgenabled::text end
                 from pg_trigger t, lateral (select string_to_array(encode(t.tgargs, 'escape'), E'\\000')) a (args)
                 where t.tgrelid = e.oid and t.tgname = 'rouse_append_before'), ''),
       exists (select from pg_subscription_rel r where r.srrelid = e.oid),
       row_security_active(e.oid)
from pg_class e join pg_namespace n on n.oid = e.relnamespace
left join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = e.oid and d.classid = 'pg_class'::regclass
                     and d.deptype = 'i' and d.refobjsubid = 1
                     and exists (select from pg_attribute a where a.attrelid = e.oid and a.attnum = 1 and a.attname = 'global_position')
left join pg_sequence s on s.seqrelid = d.objid
where e.oid = $1::text::regclass
