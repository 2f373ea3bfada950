-- Settings of one transaction of the worker's own, set in it and gone with it, so that a pooled connection carries nothing on,
-- and what role, database, address or a handler have set does not count: results as pgx reads them in every mode; rows that row
-- level security would hide raise an error instead; limits that let the statement finish or fail, and none on the transaction.
-- The second column says whether the session leads to a standby: one that was the primary answers reads, of yesterday.
-- $1: the longest a statement may run, $2: the longest it may wait for a lock, both with their unit.
select num_nulls(set_config('row_security', 'off', true), set_config('statement_timeout', $1::text, true),
                 set_config('lock_timeout', $2::text, true), set_config('client_encoding', 'UTF8', true),
                 set_config('datestyle', 'ISO, MDY', true), set_config('intervalstyle', 'postgres', true),
                 set_config('bytea_output', 'hex', true), set_config('extra_float_digits', '1', true),
                 case when current_setting('transaction_timeout', true) is not null then set_config('transaction_timeout', '0', true) end),
       pg_is_in_recovery()
