-- limits: what a snapshot may cost, for the rest of the transaction. A commit that a crash takes back loses a row that nobody needs.
--
-- Parameters: $1 how long to wait for a lock, and $2 how long a statement may run, both as a setting.
-- Index: none.
-- Locks: none.
select set_config('synchronous_commit', 'off', true), set_config('lock_timeout', $1::text, true), set_config('statement_timeout', $2::text, true)
