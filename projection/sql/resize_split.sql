-- Makes the checkpoints that doubling adds: partition n takes over where n mod $2 stands, of which it was a part until now.
-- $1: projection; $2: partitions until now; $3: partitions from now on. Index: the primary key.
insert into projection_checkpoints (projection_name, partition, last_global_position)
select c.projection_name, n, c.last_global_position
from generate_series($2::int, $3::int - 1) as n
join projection_checkpoints c on c.projection_name = $1 and c.partition = n & ($2::int - 1)
order by n
