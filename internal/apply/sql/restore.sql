-- Between the handler and the worker's own statements, where these were refused without it: takes back what the handler has set
-- for the transaction. $1: the role; $2: the limit of a statement, with its unit.
select set_config('role', $1::text, true), set_config('statement_timeout', $2::text, true), set_config('lock_timeout', '0', true)
