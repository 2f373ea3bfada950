-- The padded keys of the seal under which a push carries events; no row where none does.
-- Lock: none. Index: none, the table has a row.
select inner_pad, outer_pad from rouse.rouse_push_key
