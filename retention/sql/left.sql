-- Returns how many of some positions have an event. $1: the positions. Index: the primary key. Lock: none.
select count(*) from events where global_position = any ($1::bigint[])
