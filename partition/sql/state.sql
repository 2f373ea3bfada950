-- What somebody wants of a projection: whether it is paused, whether it is to start over, and the position beyond which it is not
-- to be handled for now, or null. $1: projection. Index: the primary key.
select state = 'paused', reset_to is not null, case when barrier_until > clock_timestamp() then barrier end
from projections where projection_name = $1
