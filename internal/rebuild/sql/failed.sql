-- Notes what keeps a shadow from being made, or from taking the place; null: nothing does.
-- $1: the shadow; $2: why; $3: whether trying again mends nothing. Lock: its row. Index: the primary key.
update rouse.projections set shadow_error = $2, shadow_refused = $3
where projection_name = $1 and shadow_of is not null and (shadow_error, shadow_refused) is distinct from ($2, $3)
