-- Keeps every worker from running a shadow that is to be dropped. Returns the schema of its tables, '' where there is none yet; no row:
-- there is no such shadow. $1: the shadow. Lock: its row. Index: the primary key.
update rouse.projections set state = 'paused', shadow_ready_at = null, shadow_swap = false
where projection_name = $1 and shadow_of is not null
returning coalesce(tables_schema, '')
