-- Returns a trigger of events and its function: whether it is enabled, when it runs (the bits of pg_trigger.tgtype),
-- whether under a condition, the function's name and body, whether that runs with its owner's rights, and whether it has no settings of its
-- own. Then of the append trigger, and of a push that carries events, which sequence its arguments name (migration 14): known, that of events, if there is one; unknown,
-- because they are of another table or that sequence is gone; wrong; and the statement that mends it. No row: there is no such
-- trigger. At the end whether this role may read the key of pushes that carry events.
-- $1: name. Lock: none but on catalogs.
select t.tgenabled::text, t.tgtype, t.tgqual is not null, p.proname, p.prosrc, p.prosecdef, p.proconfig is null,
       case when p.proname not in ('rouse_append_before', 'rouse_append_carry') or w.sequence is null or a.args[1:2] = array[t.tgrelid::text, w.sequence::text] then 'known'
            when a.args[1]::bigint = t.tgrelid::bigint and pg_relation_filenode(a.args[2]::oid) is not null then 'wrong'
            else 'unknown' end,
       coalesce(format('create or replace trigger rouse_append_before before insert on %1$s for each statement execute function %2$s(%3$L, %4$L); '
                       'alter table %1$s enable always trigger rouse_append_before', t.tgrelid::regclass, p.oid::regproc, t.tgrelid, w.sequence), ''),
       coalesce(has_table_privilege(to_regclass('rouse_push_key'), 'select'), false)
from pg_trigger t join pg_proc p on p.oid = t.tgfoid,
     lateral (select string_to_array(encode(t.tgargs, 'escape'), E'\\000')) a (args),
     lateral (select pg_get_serial_sequence('events', 'global_position')::regclass::oid) w (sequence)
where t.tgrelid = 'events'::regclass and t.tgname = $1 and not t.tgisinternal
