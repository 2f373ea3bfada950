-- Settings of one working transaction, set in it and gone with it, so that a pooled connection carries nothing on.
-- $1: commit without waiting for the disk, which the append trigger takes back if the transaction appends; false: wait for
-- it, also where the role's default is not to. The stronger settings of synchronous_commit are left as they are.
-- $2: how long a statement may run; $3: how long the session may do nothing before the server ends it, so that a frozen
-- worker's locks on checkpoints do not stay. Both with their unit. $4: the worker's presence key: the lock ('rouW', $4), gone with the
-- transaction, shows others which sessions to end if the worker is dead (partition/sql/terminate.sql).
select case when $1::bool then set_config('synchronous_commit', 'off', true)
            when current_setting('synchronous_commit') = 'off' then set_config('synchronous_commit', 'on', true) end,
       set_config('statement_timeout', $2::text, true), set_config('idle_in_transaction_session_timeout', $3::text, true),
       pg_advisory_xact_lock_shared(1919907159, $4::int)
