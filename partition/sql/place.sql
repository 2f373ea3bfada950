-- Which incarnation of which database of which server a connection leads to, for comparison: the token, and the oid of the
-- database, because a copy that was made with CREATE DATABASE .. TEMPLATE has the token of its original. No row where crash
-- recovery or a promotion has taken away what the token is made of.
select rouse.rouse_incarnation_now(token) || ' ' || d.oid
from rouse.rouse_incarnation, pg_catalog.pg_database d
where d.datname = current_database()
