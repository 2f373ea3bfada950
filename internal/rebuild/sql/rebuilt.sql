-- Returns whether there is a shadow of a name. $1: the name. Lock: none. Index: the primary key.
select exists (select from rouse.projections where projection_name = $1 and shadow_of is not null)
