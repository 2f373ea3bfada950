-- What a reader must know of the log before its first read: which table and sequence it is, and whether its trigger stands.
-- One row. Lock: ACCESS SHARE on nothing but catalogs.
select 'events'::regclass::oid::bigint,
       pg_get_serial_sequence('events', 'global_position')::regclass::oid::bigint,
       (select oid::bigint from pg_database where datname = current_database()),
       pg_is_in_recovery(),
       getdatabaseencoding(),
       coalesce((select s.seqcache from pg_sequence s
                 where s.seqrelid = pg_get_serial_sequence('events', 'global_position')::regclass), 0),
       coalesce((select t.tgenabled::text from pg_trigger t
                 where t.tgrelid = 'events'::regclass and t.tgname = 'rouse_append_before'), ''),
       exists (select from pg_subscription_rel r where r.srrelid = 'events'::regclass)
