-- Makes a retired name one that a projection can have. $1: the name. Index: the primary key.
delete from retired_projections where projection_name = $1
