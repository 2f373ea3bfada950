-- Locks what whoever makes a checkpoint, or sets one back, needs, until the end of the transaction. Lock: the row.
select whole_from from rouse_retention for update
