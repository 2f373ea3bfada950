-- The tables of the stress test. seen has no unique constraint, so that what is handled twice shows; seq is the order in
-- which events were handled. tallies is a read model that counts. foreign_work is written by a transaction that never ends.
create table seen (
  projection      text not null,
  global_position bigint not null,
  aggregate_type  text not null,
  aggregate_id    text not null,
  version         bigint not null,
  instance        text not null,
  seq             bigint generated always as identity
);
create table tallies (
  aggregate_type text,
  aggregate_id   text,
  events         bigint not null,
  last_version   bigint not null,
  out_of_order   bigint not null,
  primary key (aggregate_type, aggregate_id)
);
create table foreign_work (n bigint);
