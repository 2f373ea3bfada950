-- conflict: the obstacle of an append that a unique constraint refused.
--
-- Parameters: $1 aggregate type, $2 aggregate id, $3 event ids of the append.
-- Returns one row: the version of the stream; one of the event ids that is in the log already, or null; the isolation
-- level of the transaction. In READ COMMITTED this statement has a newer snapshot than the refused one and sees the row
-- that was in the way; in the higher levels it may not.
-- Index: the unique ones over (aggregate_type, aggregate_id, aggregate_version) and (event_id).
-- Locks: none.
select (select coalesce(max(aggregate_version), 0)
        from events
        where aggregate_type = $1::text and aggregate_id = $2::text),
       (select event_id::text
        from events
        where event_id = any ($3::text[]::uuid[])
        limit 1),
       current_setting('transaction_isolation')
