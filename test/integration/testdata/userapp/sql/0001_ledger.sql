-- The read model of the ledger: every event as it was handled, and a tally of each aggregate.
create table if not exists seen (
  projection      text not null,
  global_position bigint not null,
  aggregate_type  text not null,
  aggregate_id    text not null,
  version         bigint not null,
  instance        text not null,
  seq             bigint generated always as identity
);
create table if not exists tallies (
  aggregate_type text,
  aggregate_id   text,
  events         bigint not null,
  last_version   bigint not null,
  out_of_order   bigint not null,
  primary key (aggregate_type, aggregate_id)
);
