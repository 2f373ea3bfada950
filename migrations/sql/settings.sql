-- Sets the limits of a migrating transaction, which role, database or address may have set otherwise: the longest that a statement
-- runs and waits for a lock, and none for the transaction.
-- $1: the longest, with its unit.
-- Lock: none.
select num_nulls(set_config('statement_timeout', $1::text, true), set_config('lock_timeout', $1::text, true),
                 set_config('idle_in_transaction_session_timeout', '0', true),
                 case when current_setting('transaction_timeout', true) is not null then set_config('transaction_timeout', '0', true) end)
