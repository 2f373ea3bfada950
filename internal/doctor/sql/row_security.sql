-- Returns the tables of Rouse that have row level security, and whether it is active for the role.
-- Lock: none but on catalogs.
select c.oid::regclass::text, row_security_active(c.oid)
from unnest(array['events', 'projections', 'retired_projections', 'projection_checkpoints', 'projection_workers', 'parked_events', 'event_attempts',
                  'rouse_incarnation', 'rouse_restart', 'rouse_migrations', 'rouse_push_key',
                  'rouse_retention', 'rouse_archives', 'rouse_erasures', 'rouse_snapshots', 'event_tags']) with ordinality n (name, n)
join pg_class c on c.oid = to_regclass(n.name)
where c.relrowsecurity
order by n.n
