-- First of three (of two in a glance), before the locks are looked at: the highest position given out, and the token of
-- this incarnation; and the settings of the reading transaction, set in it and gone with it, so that a pooled
-- connection carries nothing on. They count from the next statement on.
-- No parallel plans: a misestimated slot test once went parallel and read eleven times slower.
-- No bitmaps: where few events are expected, the planner would collect and sort a whole window instead of stopping at
-- the limit.
-- One plan for all values, which is made once: for a range of positions the planner would otherwise make a new one for
-- each read, which takes longer than to read a few events. So it must not be one for a table that was small when it was
-- made: no sequential scans, which leaves the primary key. A table without an index is scanned all the same, at a price
-- that would start the JIT compiler.
-- $1: oid of the sequence. A null head beside existing rows means a missing right on the sequence, never an empty log.
-- $2: the longest a statement may run, with its unit. $3: true: the client does not know that texts are in UTF8 and dates in ISO.
-- $4: true: the server may know transaction_timeout (17 and later).
-- Results as pgx reads them in every mode, whatever role, database or address say: text in UTF8, dates in ISO. Rows that row
-- level security would hide raise. No limit on the transaction but this one. Then the file of the sequence, which changes when
-- the log is begun anew or the sequence altered.
select pg_sequence_last_value($1::bigint::oid::regclass), (select rouse.rouse_incarnation_now(token) from rouse.rouse_incarnation),
       num_nulls(set_config('max_parallel_workers_per_gather', '0', true), set_config('enable_bitmapscan', 'off', true),
                 set_config('plan_cache_mode', 'force_generic_plan', true), set_config('enable_seqscan', 'off', true),
                 set_config('jit', 'off', true), set_config('statement_timeout', $2::text, true),
                 set_config('row_security', 'off', true),
                 case when $3::bool then num_nulls(set_config('client_encoding', 'UTF8', true), set_config('datestyle', 'ISO, MDY', true)) end,
                 case when $4::bool and current_setting('transaction_timeout', true) <> '0' then set_config('transaction_timeout', '0', true) end),
       pg_relation_filenode($1::bigint::oid)::bigint
