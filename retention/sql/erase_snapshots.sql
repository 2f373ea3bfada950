-- Deletes the snapshots of an aggregate. $1, $2: the aggregate. Index: the primary key. Lock: the rows; the table is locked before.
delete from rouse_snapshots where aggregate_type = $1 and aggregate_id = $2
