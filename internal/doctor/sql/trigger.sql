-- Returns a trigger of events and its function: whether it is enabled, when it runs (the bits of pg_trigger.tgtype),
-- whether under a condition, the function's body, whether that runs with its owner's rights, and whether it fixes its
-- search_path. No row: there is no such trigger.
-- $1: name. Lock: none but on catalogs.
select t.tgenabled::text, t.tgtype, t.tgqual is not null, p.prosrc, p.prosecdef,
       coalesce(p.proconfig @> array['search_path=pg_catalog, pg_temp'], false)
from pg_trigger t join pg_proc p on p.oid = t.tgfoid
where t.tgrelid = 'events'::regclass and t.tgname = $1 and not t.tgisinternal
