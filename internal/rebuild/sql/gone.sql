-- Deletes a shadow with its checkpoints. $1: the shadow. Lock: its rows. Index: the primary keys.
delete from rouse.projections where projection_name = $1 and shadow_of is not null
