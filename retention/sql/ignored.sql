-- Returns those of some names that are of no projection. $1: the names. Index: the primary key.
select name from unnest($1::text[]) as n (name) where not exists (select from projections p where p.projection_name = n.name) order by 1
