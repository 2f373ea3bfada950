-- Returns how the last request to start over stands: the position while it is pending, null otherwise; how often it was tried; and
-- why it is not done, '' once it is. $1: projection. Index: the primary key.
select reset_to, reset_tries, coalesce(left(reset_error, 2000), '') from projections where projection_name = $1
