-- Returns what there is of some projections: whether they exist, the number of their partitions, 0 unless they have all of their checkpoints;
-- and when the name was retired, or null, and for which other, or ''. It locks nothing:
-- a change of a number that is under way does not hold up the others, and the claim finds it.
-- $1: the names. Index: the primary keys.
select n.name, p.projection_name is not null,
       case when p.partitions = (select count(*) from rouse.projection_checkpoints c where c.projection_name = n.name) then p.partitions else 0 end,
       r.retired_at, coalesce(r.renamed_to, '')
from unnest($1::text[]) as n (name)
left join rouse.projections p on p.projection_name = n.name
left join rouse.retired_projections r on r.projection_name = n.name
