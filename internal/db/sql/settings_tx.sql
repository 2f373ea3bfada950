-- Settings of a transaction of the worker's own that takes several round trips, beside settings.sql: it commits synchronously, and
-- the server ends it if the process that began it is frozen or cut off, so that the rows that it has locked do not stay so.
-- $1: how long it may be idle, with its unit.
select set_config('idle_in_transaction_session_timeout', $1::text, true),
       case when current_setting('synchronous_commit') = 'off' then set_config('synchronous_commit', 'on', true) end
