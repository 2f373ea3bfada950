-- What a loop written by hand would read: what it needs and no more. $1: after this position; $2: at most so many rows.
-- Index: the primary key, in order.
select global_position, aggregate_id, event_type, payload from events where global_position > $1 order by global_position limit $2
