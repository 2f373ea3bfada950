-- Has the pushes of the log carry nothing, and forgets the key. Run under the migration lock, with events locked.
-- Lock: SHARE ROW EXCLUSIVE on events. Index: none, the table has a row.
delete from rouse_push_key;
create or replace trigger rouse_append_after after insert on events for each statement execute function rouse_append_after();
alter table events enable always trigger rouse_append_after
