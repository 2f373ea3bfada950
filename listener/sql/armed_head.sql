-- Returns the head of the log, after S is held. Appends above it will find S. $1: oid of the sequence.
select coalesce(pg_sequence_last_value($1::bigint::oid::regclass), 0)
