-- The position beyond which a projection is not to be handled for now, or null. $1: projection. Index: the primary key.
select (select barrier from projections where projection_name = $1 and barrier_until > clock_timestamp())
