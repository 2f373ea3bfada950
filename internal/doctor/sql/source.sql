-- Returns whether this server is a standby, whether transactions are read-only by default, and whether events is filled by a subscription. No events table: it is not.
-- Lock: ACCESS SHARE on nothing but catalogs.
select pg_is_in_recovery(), current_setting('default_transaction_read_only')::bool, exists (select from pg_subscription_rel where srrelid = to_regclass('events'))
