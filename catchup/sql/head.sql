-- First of three (of two in a glance), before the locks are looked at: the highest position given out, and the token of this
-- incarnation; and the settings of the reading transaction, set in it and gone with it, so that a pooled connection carries
-- nothing on. They count from the next statement on.
-- No parallel plans: a misestimated slot test once went parallel and read eleven times slower.
-- No bitmaps: where few events are expected, the planner would collect and sort a whole window instead of stopping at the limit.
-- One plan for all values, which is made once: for a range of positions the planner would otherwise make a new one for each read,
-- which takes longer than to read a few events. So it must not be one for a table that was small when it was made: no sequential
-- scans, which leaves the primary key. What has no index is scanned all the same, at a price that would start the JIT compiler.
-- $1: oid of the sequence. A null head beside existing rows means a missing right on the sequence, never an empty log.
-- $2: the longest a statement may run, with its unit.
select pg_sequence_last_value($1::bigint::oid::regclass), (select token::text from rouse_incarnation),
       num_nulls(set_config('max_parallel_workers_per_gather', '0', true), set_config('enable_bitmapscan', 'off', true),
                 set_config('plan_cache_mode', 'force_generic_plan', true), set_config('enable_seqscan', 'off', true),
                 set_config('jit', 'off', true), set_config('statement_timeout', $2::text, true))
