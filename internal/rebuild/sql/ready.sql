-- Notes that the tables of a shadow are there. $1: the shadow; $2: the tables; $3: their schema. Index: the primary key.
update rouse.projections set tables = $2::text[], tables_schema = $3::text, shadow_ready_at = clock_timestamp(), shadow_error = null, shadow_refused = false
where projection_name = $1
