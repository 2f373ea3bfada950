-- First of two: what head.sql asks for, and the settings of settings.sql for what follows, in one statement.
-- $1: oid of the sequence; $2: the longest a statement may run, with its unit.
select pg_sequence_last_value($1::bigint::oid::regclass), (select token::text from rouse_incarnation),
       num_nulls(set_config('max_parallel_workers_per_gather', '0', true), set_config('enable_bitmapscan', 'off', true),
                 set_config('plan_cache_mode', 'force_generic_plan', true), set_config('enable_seqscan', 'off', true),
                 set_config('jit', 'off', true), set_config('statement_timeout', $2::text, true))
