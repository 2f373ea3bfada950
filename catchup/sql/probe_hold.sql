-- Takes K as an append does that fills no position, and returns the server's process and the key; no key where a stranger holds
-- the two that were tried.
-- $1: oid of the sequence; $2: oid of events. Lock: K, shared, to the end of the transaction. It never waits.
with h as materialized (select coalesce(pg_sequence_last_value($1::bigint::oid::regclass), 0) as head, ($2::bigint & 16777215) << 40 as tag),
     k as materialized (select tag | (head & 1099511627775) as high, tag | (head - 1 - (random() * 1000000)::bigint & 1099511627775) as low from h)
select pg_backend_pid(), case when pg_try_advisory_xact_lock_shared(high) then high when pg_try_advisory_xact_lock_shared(low) then low end
from k
