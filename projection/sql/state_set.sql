-- Pauses a projection or lets it go on. Whether and why it is stopped stays as it is, until a worker takes it up again. No row if
-- there is no such projection.
-- $1: projection; $2: paused or running. Lock: the row. Index: the primary key.
with stopped as (
  -- As migration 11 says, state decides where an earlier binary has written it.
  select case state when 'stopped' then coalesce(stopped_at, error_at, clock_timestamp()) when 'paused' then stopped_at end as at
  from projections where projection_name = $1 for no key update
)
update projections
set state = case when $2::text = 'paused' then 'paused' when stopped.at is not null then 'stopped' else 'running' end, stopped_at = stopped.at
from stopped where projection_name = $1
returning 1
