-- Locks what is built or kept beside a projection, and returns the schema of the tables of each, '' where there is none yet.
-- $1: the projection, which the caller has locked, so that nothing comes to be beside it. Lock: the rows, for update, in the order of
-- names. Index: projections_shadows.
select coalesce(tables_schema, '') from rouse.projections where shadow_of = $1 order by projection_name collate "C" for update
