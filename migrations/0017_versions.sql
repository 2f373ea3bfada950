-- 0017 versions: a projection may have a shadow beside it, which builds another read model and takes its place.
-- oldest binary that works on it: 2
-- locks: projections
--
-- Takes ACCESS EXCLUSIVE on projections for a moment; nothing is rewritten. Earlier binaries run no shadow, and do not mind the
-- version: none of them may run a projection of which another version was promoted.

-- version: the version of the handler that a projection is run by; a worker with another one leaves it alone.
-- tables, tables_schema: the tables of its read model, without their schema, and the schema; null: not known.
-- replaced_at: when a shadow has last taken its place; null: none has.
-- A shadow is a projection of its own, with its own checkpoints, named NAME@VERSION, or NAME@rebuild.
-- shadow_of: the projection whose place it may take; null: it is none. shadow_from: the position that it began behind.
-- shadow_ready_at: since when its tables are there; null: no worker has made them yet. shadow_swap: it takes the place as soon as
-- it has caught up. shadow_error: what keeps it from being made, or from taking the place; shadow_refused: trying again mends nothing.
alter table projections
  add column version int not null default 1 check (version >= 1),
  add column tables text[],
  add column tables_schema text,
  add column replaced_at timestamptz,
  add column shadow_of text references projections on delete cascade on update cascade,
  add column shadow_from bigint check (shadow_from >= 0),
  add column shadow_ready_at timestamptz,
  add column shadow_swap boolean not null default false,
  add column shadow_error text,
  add column shadow_refused boolean not null default false;
create index projections_shadows on projections (shadow_of) where shadow_of is not null;
