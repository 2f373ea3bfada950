-- The next rows of the plain table, as read_hand.sql reads those of the log. $1: after this position; $2: at most so many rows.
-- Index: the primary key, in order.
select global_position, aggregate_id, event_type, payload from plain_log where global_position > $1 order by global_position limit $2
