-- The token of this incarnation; no row where crash recovery or a promotion has taken away what it is made of.
select rouse.rouse_incarnation_now(token) from rouse.rouse_incarnation
