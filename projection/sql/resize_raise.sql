-- Takes all partitions from their owners, under an epoch above all that were: whoever is in flight cannot save any more. The
-- epoch of a partition that comes back later rises too, for it begins above those of all others.
-- $1: projection; $2: the new epoch. Index: the primary key.
update projection_checkpoints set owner = null, epoch = $2::bigint, updated_at = clock_timestamp() where projection_name = $1
