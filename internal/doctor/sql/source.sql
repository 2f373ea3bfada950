-- Whether this server is a standby, and whether events is filled by a subscription. No events table: it is not.
-- Lock: ACCESS SHARE on nothing but catalogs.
select pg_is_in_recovery(), exists (select from pg_subscription_rel where srrelid = to_regclass('events'))
