-- Gives the attempts that are written down for one projection to another, which has none; with null they are forgotten.
-- $1: from; $2: to. Lock: the rows. Index: the primary key.
with gone as (
  delete from rouse.event_attempts where projection_name = $1 and $2::text is null
)
update rouse.event_attempts set projection_name = $2 where projection_name = $1 and $2::text is not null
