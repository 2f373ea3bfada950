-- Returns whether a shadow has taken the place of a projection since a time. $1: projection; $2: the time. Lock: none. Index: the primary key.
select coalesce(replaced_at >= $2::timestamptz, false) from rouse.projections where projection_name = $1
