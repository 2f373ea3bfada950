-- Deletes the row of a member. $1: instance. Index: the primary key.
delete from rouse.projection_workers where instance_id = $1::text::uuid
