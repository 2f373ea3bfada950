-- Locks a projection, so that the number of its partitions stays what it is. First of all locks, as for a resize.
-- $1: projection. Lock: its row, shared. Index: the primary key.
select 1 from projections where projection_name = $1 for share
