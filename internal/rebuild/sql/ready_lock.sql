-- Locks a shadow, and returns whether its tables are there, or are not to be made: it is paused, as one that is being dropped. $1: the shadow. Lock: its row. Index: the primary key.
select shadow_ready_at is not null or state = 'paused' from rouse.projections where projection_name = $1 and shadow_of is not null for no key update
