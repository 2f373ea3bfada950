-- Notes whether a shadow takes the place by itself. $1: the shadow; $2: whether it does. Lock: its row. Index: the primary key.
update rouse.projections set shadow_swap = $2 where projection_name = $1 and shadow_of is not null
