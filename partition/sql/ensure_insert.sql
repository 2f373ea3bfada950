-- Creates a projection at its first start. $1: its name; $2: the number of its partitions.
insert into rouse.projections (projection_name, partitions) values ($1, $2) on conflict do nothing
