-- Settings of one working transaction, set in it and gone with it, so that a pooled connection carries nothing on.
-- $1: commit without waiting for the disk, which the append trigger takes back if the transaction appends; false: wait for
-- it, also where the role's default is not to. The stronger settings of synchronous_commit are left as they are.
-- $2: how long a statement may run; $3: how long the session may do nothing before the server ends it, so that a frozen
-- worker's locks on checkpoints do not stay. Both with their unit.
select case when $1::bool then set_config('synchronous_commit', 'off', true)
            when current_setting('synchronous_commit') = 'off' then set_config('synchronous_commit', 'on', true) end,
       set_config('statement_timeout', $2::text, true), set_config('idle_in_transaction_session_timeout', $3::text, true)
