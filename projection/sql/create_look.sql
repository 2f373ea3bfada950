-- Returns whether there is a projection of a name, and whether the name is retired. $1: the name. Index: the primary keys.
select exists (select from projections where projection_name = $1), exists (select from retired_projections where projection_name = $1)
