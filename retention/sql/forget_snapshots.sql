-- Deletes the snapshots of streams of which nothing is in the log: Append takes such a stream for a new one, which they are not of.
-- Index: the unique one of events over streams, for each snapshot; rouse_snapshots is read whole. Lock: the rows; the table is locked before.
delete from rouse_snapshots s
where not exists (select from events e where e.aggregate_type = s.aggregate_type and e.aggregate_id = s.aggregate_id)
