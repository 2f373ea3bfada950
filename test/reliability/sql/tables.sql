-- What the workers of the soak write. handled has no unique constraint, so that what is handled twice shows; seq is the order
-- in which it was handled. totals is a read model that counts.
create table handled (
  seq       bigint generated always as identity,
  aggregate text not null,
  version   bigint not null,
  position  bigint not null,
  worker    text not null
);
create table totals (
  aggregate    text primary key,
  events       bigint not null,
  last_version bigint not null
);

-- For handlers that meet the error of a statement.
create function soak_raise(state text) returns void language plpgsql as $$
begin
  raise exception 'an error that the handler asked for' using errcode = state;
end $$;
