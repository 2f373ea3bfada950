-- How many events each aggregate has.
create table if not exists orders (
  aggregate_type text,
  id             text,
  events         bigint not null,
  primary key (aggregate_type, id)
);
