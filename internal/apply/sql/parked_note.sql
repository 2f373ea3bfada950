-- Writes down that the first rows of a queue are about to be tried, before they are, so that the try outlives a process that dies
-- of it. $1: projection; $2: positions; $3: that of the first of them; $4: seconds until it is tried again if nobody comes back from
-- this. Returns how many of them are there. Index: the primary key.
with noted as (
  update rouse.parked_events
  set tries = tries + 1, attempts = attempts + 1, died = died + 1, retry_requested_at = null,
      due_at = case when global_position = $3 then clock_timestamp() + make_interval(secs => $4) end
  where projection_name = $1 and global_position = any ($2::bigint[])
  returning 1
)
select count(*) from noted
