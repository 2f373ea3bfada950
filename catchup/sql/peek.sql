-- First of three and, for a reader at rest, all: the head and the token as head.sql has them, outside of a transaction.
-- $1: oid of the sequence.
select pg_sequence_last_value($1::bigint::oid::regclass), (select rouse.rouse_incarnation_now(token) from rouse.rouse_incarnation),
       pg_relation_filenode($1::bigint::oid)::bigint
