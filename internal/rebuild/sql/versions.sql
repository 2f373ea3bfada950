-- Returns which version of each of some projections is live. $1: the projections. Lock: none. Index: the primary key.
select projection_name, version from rouse.projections where projection_name = any ($1::text[])
