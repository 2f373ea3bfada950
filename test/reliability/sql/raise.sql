-- Fails with an SQLSTATE, as a statement does that another transaction is in the way of. $1: the SQLSTATE.
select soak_raise($1)
