-- Sends notifications, without waiting for the disk: what a crash takes back is sent again. $1: the channels; $2: the payloads.
-- Lock: the one that every notification takes at its commit. Index: none.
with off as materialized (select set_config('synchronous_commit', 'off', true))
select pg_notify(n.channel, n.payload) from off, unnest($1::text[], $2::text[]) as n (channel, payload)
