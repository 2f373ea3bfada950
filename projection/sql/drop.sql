-- Takes a projection away, with all that refers to it, and retires its name. $1: projection. Lock: its rows. Index: the primary keys.
with retired as (
  insert into retired_projections (projection_name) values ($1)
)
delete from projections where projection_name = $1
