-- What somebody wants of a projection. $1: projection. Index: the primary key.
select state, reset_to, reset_force from projections where projection_name = $1
