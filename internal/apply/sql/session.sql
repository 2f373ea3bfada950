-- Returns what a handler may change of its session so that it outlives the transaction: role, search_path, and the numbers of
-- temporary tables and of channels that are listened to; and whether transactions that nobody begins are other ones than db.BeginWrite.
select current_setting('role'), current_setting('search_path'),
       case when pg_my_temp_schema() = 0 then 0 else (select count(*) from pg_class where relnamespace = pg_my_temp_schema()) end,
       (select count(*) from pg_listening_channels()),
       current_setting('default_transaction_isolation') <> 'read committed' or current_setting('default_transaction_read_only') <> 'off'
