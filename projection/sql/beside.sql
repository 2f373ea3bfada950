-- Returns the first of what is built or kept beside a projection, '' if there is nothing. $1: projection. Index: projections_shadows.
select coalesce((select projection_name from projections where shadow_of = $1 order by projection_name limit 1), '')
