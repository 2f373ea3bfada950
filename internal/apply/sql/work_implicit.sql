-- Makes the settings of a working transaction that is sent as a whole, up to the one Sync behind it: the server begins such a transaction
-- by itself, and commits at the Sync, so it goes without begin and commit. Nor does the session wait in it, so it has no limit for
-- that. Otherwise as work.sql.
-- It raises invalid_text_representation unless the transaction is as db.BeginWrite would have begun it: what a role, a database or a
-- handler have set for the session counts here. Nothing has been done then.
-- $1: true: commit without waiting for the disk; $2: the limit of a statement, with its unit; $3: the presence key; $4: the name of
-- this transaction; $5: true: the server may know transaction_timeout (17 and later).
select case when current_setting('transaction_isolation') <> 'read committed' or current_setting('transaction_read_only') <> 'off'
            then (current_setting('transaction_isolation') || ' is not how it has to begin')::int end,
       case when $1::bool then set_config('synchronous_commit', 'off', true)
            when current_setting('synchronous_commit') = 'off' then set_config('synchronous_commit', 'on', true) end,
       set_config('statement_timeout', $2::text, true),
       case when $5::bool and current_setting('transaction_timeout', true) <> '0' then set_config('transaction_timeout', '0', true) end,
       pg_try_advisory_xact_lock_shared(1919907159, $3::int), set_config('rouse.work', $4::text, true)
