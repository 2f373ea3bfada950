-- Returns how many dead rows the tables of checkpoints and of workers have, as the server counts them, and whether this role may see
-- whose snapshots keep them.
-- Index: none.
select coalesce(pg_stat_get_dead_tuples('projection_checkpoints'::regclass), 0),
       coalesce(pg_stat_get_dead_tuples('projection_workers'::regclass), 0),
       pg_has_role('pg_read_all_stats', 'usage')
