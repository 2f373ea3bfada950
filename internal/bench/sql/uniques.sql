-- The unique constraints of the log beside its key, by name, and how to make each anew.
select conname::text, pg_get_constraintdef(oid) from pg_constraint where conrelid = 'events'::regclass and contype = 'u' order by conname
