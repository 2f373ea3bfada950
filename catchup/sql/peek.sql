-- First of three and, for a reader at rest, all: the head and the token as head.sql has them, outside of a transaction.
-- $1: oid of the sequence.
select pg_sequence_last_value($1::bigint::oid::regclass), (select token::text from rouse_incarnation)
