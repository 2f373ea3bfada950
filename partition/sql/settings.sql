-- Settings of the control session, on a direct connection: never closed for being idle, its end
-- noticed by the server within 100 ms in a statement and within 2 s when the network is cut.
select set_config('idle_session_timeout', '0', false), set_config('client_connection_check_interval', '100ms', false),
       set_config('tcp_user_timeout', '2000', false), set_config('tcp_keepalives_idle', '1', false),
       set_config('tcp_keepalives_interval', '1', false), set_config('tcp_keepalives_count', '9', false)
