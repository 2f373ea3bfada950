-- Returns the functions of triggers that run with their owner's rights, that of the append trigger and that of pushes that carry
-- events, whether they do or not: for each its signature, its owner, the owner of events,
-- whether PUBLIC may execute it and so attach it elsewhere, and the statements that detach it from tables other than events.
-- Lock: none but on catalogs.
select p.oid::regprocedure::text, pg_get_userbyid(p.proowner)::text, pg_get_userbyid(c.relowner)::text,
       exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a where a.grantee = 0 and a.privilege_type = 'EXECUTE'),
       array(select format('drop trigger %I on %s', o.tgname, o.tgrelid::regclass) from pg_trigger o
             where o.tgfoid = p.oid and o.tgrelid <> c.oid and o.tgparentid = 0 order by 1)
from pg_class c
join pg_proc p on p.oid = (select t.tgfoid from pg_trigger t where t.tgrelid = c.oid and t.tgname = 'rouse_append_before' and not t.tgisinternal)
                  or p.pronamespace = c.relnamespace and p.proname = 'rouse_append_carry'
where c.oid = 'events'::regclass
order by p.proname
