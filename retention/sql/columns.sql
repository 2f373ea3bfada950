-- Returns the columns of events that an archive has no room for, and the version of the schema.
-- Lock: none but on catalogs.
select coalesce((select string_agg(attname, ', ' order by attnum) from pg_attribute
                 where attrelid = 'events'::regclass and attnum > 0 and not attisdropped
                   and attname not in ('global_position', 'event_id', 'aggregate_type', 'aggregate_id', 'aggregate_version', 'event_type',
                                       'event_version', 'payload', 'metadata', 'slot', 'created_at')), ''),
       (select max(version) from rouse_migrations)
