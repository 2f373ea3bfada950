-- First of three, before the locks are looked at: the highest position given out, and the token of this incarnation.
-- $1: oid of the sequence. A null head beside existing rows means a missing right on the sequence, never an empty log.
select pg_sequence_last_value($1::bigint::oid::regclass), (select token::text from rouse_incarnation)
