-- Whether a projection has everything: the highest position of the log, and the lowest of its checkpoints. $1: projection.
select coalesce((select max(global_position) from events), 0),
       coalesce((select min(last_global_position) from projection_checkpoints where projection_name = $1), -1)
