-- Deletes the snapshots of those of some streams of which nothing is in the log: Append takes such a stream for a new one, which they are not of.
-- $1, $2: for each event that was removed its aggregate. Index: the primary key, and the unique one of events over streams. Lock: the rows; the
-- table is locked before.
delete from rouse_snapshots s
using (select distinct t.type, t.id from unnest($1::text[], $2::text[]) t (type, id)) gone
where s.aggregate_type = gone.type and s.aggregate_id = gone.id
  and not exists (select from events e where e.aggregate_type = s.aggregate_type and e.aggregate_id = s.aggregate_id)
