-- The same of the floor's own table. $1: after this id; $2: at most so many rows. Index: the primary key, in order.
select id, aggregate_id, 'MoneyDeposited', payload from floor_log where id > $1 order by id limit $2
