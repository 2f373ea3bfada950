-- 0009 troubles: what keeps a projection from getting on is told where everybody can read it.
-- oldest binary that works on it: 2
-- locks: projection_workers
--
-- Takes ACCESS EXCLUSIVE on projection_workers for a moment; nothing is rewritten. Binaries of version 8 leave the column at its
-- default.

-- troubles: by projection, what keeps it from getting on in this worker: {"NAME": {"text": "...", "since": "..."}}, the time by
-- the worker's clock. A projection that gets on is not in it. Written with the heartbeat, which has a connection of its own, and
-- gone with the worker's row.
alter table projection_workers add column troubles jsonb not null default '{}';
