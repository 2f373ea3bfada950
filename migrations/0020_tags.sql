-- 0020 tags: events may have tags, and an append may ask that no event with certain tags has come since its writer has read.
-- oldest binary that works on it: 2
--
-- Locks no table that anybody uses. The table events and its triggers stay as they are: an append without tags does what it did. Earlier
-- binaries neither read nor write the table, so that an erasure by one of them leaves what is in it.

-- One row for each tag of an event. entry: the number of the row, taken while its transaction holds the lock of the tag alone, until its
-- end. So rows of one tag become visible in the order of their entries, and "what I have read of this tag" is one number. A position would
-- not do: it is taken before, and two appends become visible in either order. Rows of different tags are in no order.
--
-- event_id and no position, because a position that a crash or TRUNCATE takes back is given out again. No foreign key: rows outlive
-- their events in an archive, and say that something is missing (eventstore/sql/tags_read.sql).
create table event_tags (
  tag      text not null check (tag <> '' and octet_length(tag) <= 1024),
  entry    bigint not null,
  event_id uuid not null,
  primary key (tag, entry)
);
create index event_tags_event_id_idx on event_tags (event_id);
create sequence event_tags_entry_seq owned by event_tags.entry;

-- Takes the lock of the tag and then the number, whoever writes the row: eventstore, plain SQL, COPY. The lock is of two integers, 'rouT'
-- and a hash of the table and the tag; tags that share a hash wait for each other without need. Whoever may connect can hold that lock too, which
-- delays appends with tags and lets no event through.
-- The rights of the owner are for the sequence. Every name says pg_catalog, as in rouse_append_before.
create function rouse_tag_before() returns trigger
language plpgsql security definer as $$
begin
  perform pg_catalog.pg_advisory_xact_lock(1919907156,
    (pg_catalog.hashtextextended(new.tag collate pg_catalog."C", tg_relid::pg_catalog.int8) operator(pg_catalog.>>) 32)::pg_catalog.int4);
  new.entry := pg_catalog.nextval(pg_catalog.format('%I.event_tags_entry_seq', tg_table_schema)::pg_catalog.regclass);
  return new;
end $$;
revoke execute on function rouse_tag_before() from public;

create trigger rouse_tag_before before insert on event_tags for each row execute function rouse_tag_before();
alter table event_tags enable always trigger rouse_tag_before;
