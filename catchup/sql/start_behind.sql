-- Returns how many visible events there are behind position $1, $2 at most. Index: the primary key.
select count(*) from (select from rouse.events where global_position > $1::bigint order by global_position limit $2::int) behind
