-- Creates the read model of the built-in projection. Rows are updated over and over: half-filled pages keep the updates
-- on their page (no index is touched), and autovacuum comes by count.
create table if not exists scaling_activity (
  aggregate_type text not null,
  aggregate_id   text not null,
  events         bigint not null,
  last_version   bigint not null,
  out_of_order   bigint not null,
  worker_id      text not null,
  primary key (aggregate_type, aggregate_id)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000)
