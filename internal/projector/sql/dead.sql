-- Returns how many dead rows the table of checkpoints has, as the server counts them.
-- $1: the schema; '': where search_path leads. Lock: none. Index: none.
select coalesce(pg_stat_get_dead_tuples(to_regclass(
  case when $1::text = '' then 'projection_checkpoints' else format('%I.projection_checkpoints', $1::text) end)), 0)
