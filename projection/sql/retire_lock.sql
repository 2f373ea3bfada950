-- Locks a projection that is to lose its name. Events that are being set aside refer to the row, so this waits for their transactions,
-- which save behind that: the checkpoints are locked afterwards. $1: projection. Lock: the row, for update. Index: the primary key.
select 1 from projections where projection_name = $1 for update
