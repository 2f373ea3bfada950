-- The limit of a joint transaction beside those of work.sql: what waits longer for a lock goes by itself, and holds nobody up. $1: with
-- its unit.
select set_config('lock_timeout', $1::text, true)
