-- Returns the requests of operators about each of some projections: whether it is paused, whether it is to start over now, and
-- the position beyond which no event is to be handled for now, or null; whether it is, or was, stopped; and which version of it is live.
-- $1: the projections. Index: the primary key.
select projection_name, state = 'paused', reset_to is not null and coalesce(reset_due_at <= clock_timestamp(), true),
       case when barrier_until > clock_timestamp() then barrier end, state = 'stopped' or state = 'running' and stopped_at is not null,
       version
from rouse.projections where projection_name = any ($1::text[])
