-- 0019 snapshots: the state of an aggregate is kept now and then, so that a command reads only the events behind it.
-- oldest binary that works on it: 2
--
-- Takes no lock on what is there. Earlier binaries neither read nor write the table, so that an erasure by one of them leaves what is in it.

-- state is what the events of the aggregate up to aggregate_version, whose last one is event_id, came to. name: of the kind of state;
-- state_version: of its form, so that programs of two releases keep theirs side by side. A row may be deleted at any time, and is made
-- anew; only an aggregate whose first events have left the log needs it.
create table rouse_snapshots (
  aggregate_type    text not null,
  aggregate_id      text not null,
  name              text not null check (name <> '' and octet_length(name) <= 200), -- fits into the index beside the 2048 bytes of a stream
  state_version     int not null check (state_version >= 1),
  aggregate_version bigint not null check (aggregate_version >= 1),
  event_id          uuid not null,
  state             json not null,
  created_at        timestamptz not null default clock_timestamp(),
  primary key (aggregate_type, aggregate_id, name, state_version)
);
