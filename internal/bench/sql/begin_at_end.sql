-- Makes a projection that begins at the end of the log instead of with the first event. $1: its name; $2: partitions.
with p as (
  insert into projections (projection_name, partitions) values ($1, $2) returning projection_name, partitions
)
insert into projection_checkpoints (projection_name, partition, last_global_position)
select projection_name, n, (select coalesce(max(global_position), 0) from events) from p, generate_series(0, partitions - 1) n
