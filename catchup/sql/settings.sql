-- Settings of one reading transaction, set in it and gone with it, so that a pooled connection carries nothing on.
-- No parallel plans: a misestimated slot test once went parallel and read eleven times slower.
-- No bitmaps: where few events are expected, the planner would collect and sort a whole window instead of stopping at the limit.
-- $1: the longest a statement may run, with its unit.
select set_config('max_parallel_workers_per_gather', '0', true), set_config('enable_bitmapscan', 'off', true),
       set_config('statement_timeout', $1::text, true)
