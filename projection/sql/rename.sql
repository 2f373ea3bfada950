-- Gives a projection another name, which all that refers to it takes over, and retires the old one. Names that were given up for the old one
-- lead to the new one. $1: projection; $2: the new name, which no projection has. Lock: its rows. Index: the primary keys.
with free as (
  delete from retired_projections where projection_name = $2
), led as (
  update retired_projections set renamed_to = $2 where renamed_to = $1 and projection_name <> $2
), retired as (
  insert into retired_projections (projection_name, renamed_to) values ($1, $2)
)
update projections set projection_name = $2 where projection_name = $1
