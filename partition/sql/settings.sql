-- Makes the settings of the control session, on a direct connection: it is never closed for being idle, and the server
-- notices its end within 100 ms in a statement and within 2 s when the network is cut. It waits for a lock for longer than a migration
-- does that is kept from a table (1.2 s), behind which a heartbeat queues, and for less than the 2 s after which the client gives the
-- connection up.
select set_config('idle_session_timeout', '0', false), set_config('client_connection_check_interval', '100ms', false),
       set_config('tcp_user_timeout', '2000', false), set_config('tcp_keepalives_idle', '1', false),
       set_config('tcp_keepalives_interval', '1', false), set_config('tcp_keepalives_count', '9', false),
       set_config('default_transaction_isolation', 'read committed', false), set_config('default_transaction_read_only', 'off', false),
       set_config('default_transaction_deferrable', 'off', false), set_config('row_security', 'off', false),
       set_config('statement_timeout', '2s', false), set_config('lock_timeout', '1800ms', false),
       set_config('idle_in_transaction_session_timeout', '0', false), set_config('client_encoding', 'UTF8', false),
       set_config('datestyle', 'ISO, MDY', false), set_config('extra_float_digits', '1', false),
       case when current_setting('transaction_timeout', true) is not null then set_config('transaction_timeout', '0', false) end
