-- Makes the settings of one working transaction. They are local to it, so that a pooled connection carries nothing on.
-- $1: true: commit without waiting for the disk, which the append trigger takes back if the transaction appends; false:
-- wait for it, also where the role's default is not to. The stronger settings of synchronous_commit are left as they
-- are.
-- $2: the limit of a statement; $3: how long the session may be idle before the server ends it, so that a frozen
-- worker's locks on checkpoints do not stay. Both with their unit. The transaction as a whole has no limit.
-- $4: the worker's presence key. The lock ('rouW', $4), gone with the transaction, shows other workers which sessions
-- to end if this one is dead (partition/sql/terminate.sql). It never waits: where a stranger stands in its way, others
-- cannot end this session, and that is all.
-- $5: the name of this transaction. The save tests it, so that nothing is saved in another one that a handler has begun.
-- $6: true: the client does not know that texts are in UTF8. $7: true: the server may know transaction_timeout (17 and later).
-- $8: the search_path of a handler's transaction, or null: as the session has it.
select case when $1::bool then set_config('synchronous_commit', 'off', true)
            when current_setting('synchronous_commit') = 'off' then set_config('synchronous_commit', 'on', true) end,
       set_config('statement_timeout', $2::text, true), set_config('idle_in_transaction_session_timeout', $3::text, true),
       case when $6::bool then set_config('client_encoding', 'UTF8', true) end,
       case when $7::bool and current_setting('transaction_timeout', true) <> '0' then set_config('transaction_timeout', '0', true) end,
       pg_try_advisory_xact_lock_shared(1919907159, $4::int), set_config('rouse.work', $5::text, true),
       case when $8::text is not null then set_config('search_path', $8::text, true) end
