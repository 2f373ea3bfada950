-- Sends, from another connection, a notification that must arrive, and returns how full the notification queue is (0 to
-- 1). A NOTIFY waits for its commit to be flushed unless that is turned off, and this one need not survive anything.
-- $1: channel; $2: number of the probe.
with off as materialized (select set_config('synchronous_commit', 'off', true))
select pg_notify($1, $2), pg_notification_queue_usage() from off
